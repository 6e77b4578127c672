import { setTimeout as sleep } from 'node:timers/promises';
import manifest from '../../package.json' with { type: 'json' };
import { type Observer, observeAll } from '../model/observer.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createTraces } from './traces.ts';

/** Who is told what happens. Disposing sends on what is left to send. */
export type Observation = AsyncDisposable & { readonly metrics: Metrics; readonly observer: Observer };

export type TraceTarget = {
  /** Where traces go: the URL that OTLP over HTTP is spoken at. */
  readonly url: string;
  /** Who they are of. */
  readonly serviceName: string;
};

/** How long the end of the service waits for whoever takes the traces, in ms. */
const lastWordsMs = 3000;

/** @param traces Null where nobody asks for any: then the SDK that sends them is not even loaded. */
export async function openObservation(traces: TraceTarget | null): Promise<Observation> {
  const metrics = createMetrics();
  if (!traces) return { metrics, observer: metrics.observer, [Symbol.asyncDispose]: () => Promise.resolve() };
  const { BatchSpanProcessor, TracerProvider } = await import('@opentelemetry/sdk-trace');
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-http');
  const { resourceFromAttributes } = await import('@opentelemetry/resources');
  const exporter = new OTLPTraceExporter({ url: traces.url });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': traces.serviceName,
      'service.version': manifest.version,
    }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  const observer = observeAll([metrics.observer, createTraces(provider.getTracer('kiln', manifest.version))]);
  return {
    ...{ metrics, observer },
    async [Symbol.asyncDispose]() {
      await provider.forceFlush({ timeoutMillis: lastWordsMs }).catch(() => undefined);
      const over = new AbortController();
      const late = sleep(lastWordsMs, undefined, { signal: over.signal }).catch(() => undefined);
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
      over.abort();
    },
  };
}
