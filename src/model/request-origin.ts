import { randomUUID } from 'node:crypto';

/** What a request says of itself and of what it is part of, so that its sender finds it again: in answers, logs and traces. */
export type RequestOrigin = {
  /** The sender's, or one of ours. */
  readonly requestId: string | null;
  /** W3C Trace Context: the span that the request is part of; null where it named none, or none that can be read. */
  readonly traceparent: string | null;
};

/** Of builds that came before there was any, or from nowhere. */
export const unknownOrigin: RequestOrigin = { requestId: null, traceparent: null };

/** @param requestId,traceparent As they came; what is not of their form counts as not given. */
export function readOrigin(
  requestId: unknown,
  traceparent: unknown,
): RequestOrigin & { readonly requestId: string } {
  const isNamed = typeof requestId === 'string' && /^[\w.-]{1,128}$/.test(requestId);
  return {
    requestId: isNamed ? requestId : randomUUID(),
    traceparent: typeof traceparent === 'string' && parseTraceparent(traceparent) ? traceparent : null,
  };
}

export type ParentSpan = { readonly traceId: string; readonly spanId: string; readonly traceFlags: number };

/** Version 00, and of later ones what is as in 00. All zeros name nothing. */
export function parseTraceparent(text: string): ParentSpan | null {
  const form =
    /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]{1,200})?$/;
  const [, version, traceId = '', spanId = '', flags = '', more] = form.exec(text) ?? [];
  if (version === undefined || (version === '00' && more !== undefined)) return null;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1 };
}
