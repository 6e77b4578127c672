import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { BuildRecord } from '../model/build.ts';
import type { Observer } from '../model/observer.ts';
import { parseTraceparent } from '../model/request-origin.ts';
import { stretchesOf } from '../model/stretches.ts';

/**
 * Tells of each build that has ended as a span, part of the one that its request named, with a span for each phase in it. All times are those
 * of its record, so that one which outlived a restart is told of as any other.
 */
export function createTraces(tracer: Tracer): Observer {
  return {
    leased: () => undefined,
    logged: () => undefined,
    operationEnded: () => undefined,
    buildEnded(record) {
      const stretches = stretchesOf(record);
      const [first, last] = [stretches[0], stretches.at(-1)];
      if (!first || !last) return;
      const parent = parentOf(record);
      const span = tracer.startSpan(
        'build',
        { startTime: first.start, attributes: describe(record) },
        parent,
      );
      const within = trace.setSpan(parent, span);
      for (const { name, attempt, start, end } of stretches) {
        const attributes = { 'kiln.attempt': attempt };
        tracer.startSpan(name, { startTime: start, attributes }, within).end(end);
      }
      const { state, message } = record.verdict ?? {};
      if (state !== 'succeeded') span.setStatus({ code: SpanStatusCode.ERROR, message: message ?? '' });
      span.end(last.end);
    },
  };
}

function parentOf({ traceparent }: BuildRecord): Context {
  const parent = traceparent === null ? null : parseTraceparent(traceparent);
  return parent ? trace.setSpanContext(ROOT_CONTEXT, { ...parent, isRemote: true }) : ROOT_CONTEXT;
}

function describe({ id, tenant, requestId, matrix, entry, vm, verdict }: BuildRecord): Attributes {
  return {
    'kiln.build': id,
    'kiln.tenant': tenant,
    'kiln.entry': entry.name,
    ...(requestId !== null && { 'kiln.request': requestId }),
    ...(matrix !== null && { 'kiln.matrix': matrix }),
    ...(vm && { 'kiln.vm': vm.id, 'kiln.accelerator': vm.accelerator }),
    ...(verdict && { 'kiln.state': verdict.state }),
    ...(verdict?.code && { 'kiln.code': verdict.code }),
    ...(verdict?.failureClass && { 'kiln.failure_class': verdict.failureClass }),
  };
}
