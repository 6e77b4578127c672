import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, test } from 'node:test';
import { localAdmin } from '../../src/model/caller.ts';
import { build, startForFile } from '../e2e/harness.ts';
import { startOrigin } from '../e2e/origin.ts';
import { tied } from '../tied.ts';

/** Three hundred connections at once, on a machine that is busy with something else: slow, but each of them right. */
const rounds = 5;
const connections = 300;

const busy = Array.from({ length: 2 }, () =>
  spawn(...tied('sh', ['-c', 'while :; do :; done']), { stdio: 'ignore' }),
);
after(() => {
  for (const loop of busy) loop.kill('SIGKILL');
});
const origin = await startOrigin();
after(() => origin[Symbol.asyncDispose]());
const { service } = await startForFile({ KILN_EGRESS_ALLOW: `host.kiln.internal:${origin.echoPort}` });

for (let round = 1; round <= rounds; round += 1) {
  test(`${connections} connections on a busy machine, round ${round}`, async () => {
    const Dockerfile = [
      'FROM busybox',
      "RUN address=$(nslookup -type=a host.kiln.internal | grep -o '198[.][0-9.]*') && \\",
      `  many $address ${origin.echoPort} ${connections}`,
    ].join('\n');
    const { exit, body, id } = await build(service, { Dockerfile });
    const { egress } = await service.builds.get(localAdmin, id);
    const told = `${body}${JSON.stringify(egress)}`;
    assert.equal(exit, 0, told);
    assert.match(body, new RegExp(` ${connections} right\\n`), told);
  });
}
