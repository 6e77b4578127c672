import {
  code,
  copyFromWasm,
  copyToWasm,
  decoderInit,
  end,
  initModule,
  LZMA_BUF_ERROR,
  LZMA_FINISH,
  LZMA_MEM_ERROR,
  LZMA_MEMLIMIT_ERROR,
  LZMA_OK,
  LZMA_RUN,
  LZMA_STREAM_END,
  type LZMAModule,
  WasmLzmaStream,
} from 'node-liblzma/wasm';
import { RefusedData, type ThreadData } from './thread-messages.ts';
import type { ThreadPort } from './thread-port.ts';
import { decodeStreams } from './thread-streams.ts';

const magic = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00];
/** Padding between and behind streams is zeros in groups of four. */
const paddingBytes = 4;
const bufferBytes = 256 * 1024;

/** All streams that stand at the beginning of the input, by liblzma itself. @throws RefusedData */
export async function decodeXz(
  port: ThreadPort,
  { maxMemoryBytes, maxStreams }: Pick<ThreadData, 'maxMemoryBytes' | 'maxStreams'>,
): Promise<void> {
  const module = await initModule();
  const room = new Uint8Array(bufferBytes);
  const buffers = { input: copyToWasm(module, room), output: copyToWasm(module, room) };
  decodeStreams(port, { magic, maxStreams }, () => {
    decodeStream(port, { module, ...buffers, maxMemoryBytes });
    passPadding(port);
  });
}

type Decoder = {
  readonly module: LZMAModule;
  /** Places in its memory. */
  readonly input: number;
  readonly output: number;
  readonly maxMemoryBytes: number;
};

function decodeStream(port: ThreadPort, { module, input, output, maxMemoryBytes }: Decoder): void {
  const stream = new WasmLzmaStream(module);
  decoderInit(stream, maxMemoryBytes);
  try {
    for (;;) {
      const bytes = port.peek().subarray(0, bufferBytes);
      module.HEAPU8.set(bytes, input);
      stream.setInput(input, bytes.length);
      const ended = runDecoder(port, { module, stream, output }, bytes.length === 0);
      port.take(bytes.length - stream.availIn);
      if (ended) return;
    }
  } finally {
    end(stream);
    stream.free();
  }
}

/** Takes what input there is. @returns whether the stream has ended */
function runDecoder(
  port: ThreadPort,
  { module, stream, output }: { module: LZMAModule; stream: WasmLzmaStream; output: number },
  isLast: boolean,
): boolean {
  for (;;) {
    stream.setOutput(output, bufferBytes);
    const result = code(stream, isLast ? LZMA_FINISH : LZMA_RUN);
    const produced = bufferBytes - stream.availOut;
    if (produced > 0) port.write(copyFromWasm(module, output, produced));
    if (result === LZMA_STREAM_END) return true;
    if (result !== LZMA_OK) throw refused(result);
    if (stream.availIn === 0 && stream.availOut > 0 && !isLast) return false;
  }
}

function refused(result: number): RefusedData {
  const message = `liblzma says ${result}`;
  if (result === LZMA_BUF_ERROR) return new RefusedData('truncated', message);
  if (result === LZMA_MEMLIMIT_ERROR || result === LZMA_MEM_ERROR) return new RefusedData('memory', message);
  return new RefusedData('damaged', message);
}

function passPadding(port: ThreadPort): void {
  for (;;) {
    const bytes = port.peekAtLeast(paddingBytes);
    let end = 0;
    while (end < bytes.length && bytes[end] === 0) end += 1;
    end -= end % paddingBytes;
    if (end === 0) return;
    port.take(end);
  }
}
