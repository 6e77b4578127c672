import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';

/** Reflection of proto/kiln, so that `buf curl` and grpcurl need no copy of it. */
export async function serveReflection(server: Server): Promise<void> {
  const set = await readFile(join(import.meta.dirname, 'generated/descriptors.binpb'));
  const { file } = fromBinary(FileDescriptorSetSchema, set);
  new ReflectionService({
    // The library looks only at the files; it takes them from any kind of definition.
    kiln: {
      format: 'Protocol Buffer 3 EnumDescriptorProto',
      type: {},
      fileDescriptorProtos: file.map((proto) => Buffer.from(toBinary(FileDescriptorProtoSchema, proto))),
    },
  }).addToServer(server);
}
