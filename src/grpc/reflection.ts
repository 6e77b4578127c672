import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Sets of descriptors that scripts/generate.ts wrote: every service there is, reflection itself among them. */
const described = ['kiln', 'health', 'reflection'];

/** Reflection, so that `buf curl` and grpcurl need no copy of a protocol. */
export async function serveReflection(server: Server): Promise<void> {
  const protos = await Promise.all(described.map(readDescriptors));
  new ReflectionService({
    // The library looks only at the files; it takes them from any kind of definition.
    all: {
      format: 'Protocol Buffer 3 EnumDescriptorProto',
      type: {},
      fileDescriptorProtos: protos.flat(),
    },
  }).addToServer(server);
}

async function readDescriptors(name: string): Promise<Buffer[]> {
  const set = await readFile(join(import.meta.dirname, `generated/${name}.binpb`));
  const { file } = fromBinary(FileDescriptorSetSchema, set);
  return file.map((proto) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto)));
}
