import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseConfig } from '../../src/config/config.ts';
import { prepareHost } from '../../src/host-setup.ts';
import { readinessSchema } from '../../src/http/docs/probe-schemas.ts';
import { recordSchema } from '../../src/http/docs/schemas.ts';
import { localAdmin } from '../../src/model/caller.ts';
import { createKvmProbe } from '../../src/vm/accelerator.ts';
import { findQemu } from '../../src/vm/find-qemu.ts';
import { createProcessLauncher } from '../../src/vm/process-launcher.ts';
import { build, createContext, curl, startForFile } from './harness.ts';

const run = promisify(execFile);
const { signal } = new AbortController();

const { service } = await startForFile({ KILN_ACCEL: 'auto' });

// Two at once, as one alone leaves processors idle.
describe('real builds', { concurrency: 2 }, () => {
  test('FROM scratch with COPY builds, and the record tells what it ran on', async () => {
    const { exit, body, headers, id } = await build(service, {
      Dockerfile: 'FROM scratch\nCOPY a /\n',
      a: 'hello',
    });
    assert.equal(exit, 0, body);
    assert.match(body, /^(?:kiln: .+\n)*#1 \[internal\] load build definition from Dockerfile\n/);
    assert.match(body, /\[1\/1\] COPY a \/\n/);
    assert.match(body, /\nkiln: build \S+ succeeded in [\d.]+ s(?:, after [\d.]+ s in the queue)?\n$/);
    assert.match(headers, /X-Build-State: succeeded/i);
    const answer: unknown = await (await fetch(`${service.httpUrl}/v1/builds/${id}`)).json();
    const record = recordSchema.parse(answer);
    assert.equal(record.state, 'succeeded');
    assert.equal(record.verdict?.exitCode, 0);
    assert.equal(
      record.entry.versions['buildkit'],
      'buildkitd github.com/moby/buildkit v0.20.2 97437fdd7e32f29bb80288d800cd4ffcb34e1c15',
    );
    assert.equal(record.entry.versions['runc'], '1.2.5');
    assert.ok(Object.values(record.times).every((time) => time !== null));
  });

  test('VMs run on KVM where guests start under it, else on emulation, which readiness and record say with its cause', async () => {
    const {
      made: [image],
    } = await prepareHost(parseConfig({}, true), {
      path: process.env['PATH'] ?? '',
      progress: () => undefined,
      sealsDirectory: null,
      signal,
    });
    const probe = createKvmProbe({
      launcher: createProcessLauncher(await findQemu(process.env['PATH'] ?? '', signal)),
      image,
    });
    const found = await probe(signal);
    const { accelerator } = readinessSchema.parse(await (await fetch(`${service.httpUrl}/readyz`)).json());
    const { id } = await build(service, { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' });
    assert.equal((await service.builds.get(localAdmin, id)).vm?.accelerator, accelerator.name);
    if ('model' in found) assert.deepEqual(accelerator, { name: 'kvm', note: null });
    else {
      assert.equal(accelerator.name, 'tcg');
      assert.match(accelerator.note ?? '', /^Software emulation, slow and no isolation boundary, because /);
      assert.ok(accelerator.note?.includes(found.cure), accelerator.note ?? '');
    }
  });

  test('FROM busybox with RUN echo prints what the archived VM prints, line by line in its shape', async () => {
    const { exit, body, id } = await build(service, { Dockerfile: 'FROM busybox\nRUN echo 1\n' });
    assert.equal(exit, 0, body);
    const log = await (await fetch(`${service.httpUrl}/v1/builds/${id}/log`)).text();
    assert.ok(body.includes(log), 'the streamed log is the stored log');
    const transcript = [
      /^#1 \[internal\] load build definition from Dockerfile$/,
      /^#2 \[internal\] load metadata for docker\.io\/library\/busybox:latest$/,
      /^#3 \[internal\] load \.dockerignore$/,
      /^#4 \[1\/2\] FROM docker\.io\/library\/busybox:latest@sha256:[0-9a-f]{64}$/,
      /^#4 resolve docker\.io\/library\/busybox:latest@sha256:[0-9a-f]{64}/,
      /^#4 sha256:[0-9a-f]{64} .*done$/,
      /^#4 extracting sha256:[0-9a-f]{64} .*done$/,
      /^#4 DONE [\d.]+s$/,
      /^#5 \[2\/2\] RUN echo 1$/,
      /^#5 [\d.]+ 1$/,
      /^#5 DONE [\d.]+s$/,
    ];
    let from = 0;
    const lines = log.split('\n');
    for (const shape of transcript) {
      const at = lines.findIndex((line, index) => index >= from && shape.test(line));
      assert.ok(at >= 0, `no line like ${shape} after line ${from} of:\n${log}`);
      from = at + 1;
    }
    const { egress } = await service.builds.get(localAdmin, id);
    assert.deepEqual(
      egress.map(({ name, allowed }) => ({ name, allowed })),
      [{ name: 'mirror-0.kiln.internal', allowed: true }],
    );
  });

  test('a RUN that fails sends its whole log and makes curl fail, unless on-failure=end', async () => {
    const files = { Dockerfile: 'FROM busybox\nRUN echo before && exit 37\n' };
    const cut = await build(service, files);
    assert.equal(cut.exit, 18, 'curl tells a cut answer');
    assert.match(cut.body, /#5 [\d.]+ before\n/);
    assert.match(cut.body, /did not complete successfully: exit code: 37/);
    assert.match(cut.body, /kiln: build \S+ failed after [\d.]+ s: buildctl exited with 1\.\n$/);
    const whole = await build(service, files, 'on-failure=end');
    assert.equal(whole.exit, 0);
    assert.match(whole.headers, /X-Build-State: failed/i);
    assert.match(whole.headers, /X-Build-Exit-Code: 1/i);
  });

  test('target, build arguments, labels and .dockerignore do what they do in docker build', async () => {
    const files = {
      Dockerfile:
        'FROM busybox AS one\nARG WHO=nobody\nCOPY . /ctx\nRUN echo "hello $WHO" && ls /ctx\nFROM one AS two\nRUN echo never\n',
      '.dockerignore': 'secret*\n',
      'secret.txt': 'x',
      'kept.txt': 'x',
    };
    const { exit, body } = await build(
      service,
      files,
      'target=one',
      "build-arg=WHO=$(id) 'quoted'",
      'label=a.b=c',
    );
    assert.equal(exit, 0, body);
    assert.match(body, /hello \$\(id\) 'quoted'\n/);
    assert.match(body, /kept\.txt\n/);
    assert.doesNotMatch(body, /secret\.txt|never/);
  });

  test('a Dockerfile alone builds without a context', async () => {
    const file = join(tmpdir(), `kiln-dockerfile-${process.pid}`);
    await writeFile(file, 'FROM busybox\nRUN echo alone\n');
    const { exit, body } = await curl('-F', `dockerfile=@${file}`, `${service.httpUrl}/build`);
    await rm(file);
    assert.equal(exit, 0, body);
    assert.match(body, /[\d.]+ alone\n/);
  });

  for (const [output, prefix] of [
    ['docker', 'docker-archive'],
    ['oci', 'oci-archive'],
  ] as const) {
    test(`output=${output} keeps a tar that skopeo reads`, async () => {
      const files = { Dockerfile: 'FROM scratch\nCOPY a /\nLABEL made=here\n', a: 'hello' };
      const { exit, body, id } = await build(
        service,
        files,
        `output=${output}`,
        'tag=example.com/kiln/test:1',
      );
      assert.equal(exit, 0, body);
      const tar = join(tmpdir(), `kiln-${id}.tar`);
      try {
        assert.equal((await curl('-o', tar, `${service.httpUrl}/v1/builds/${id}/artifact`)).exit, 0);
        const { stdout } = await run('skopeo', ['inspect', `${prefix}:${tar}`]);
        assert.equal(JSON.parse(stdout).Labels.made, 'here');
        const record = await service.builds.get(localAdmin, id);
        const { stdout: sum } = await run('sha256sum', [tar]);
        assert.equal(record.artifact?.digest, `sha256:${sum.split(' ')[0]}`);
      } finally {
        await rm(tar, { force: true });
      }
    });
  }

  test('output=local keeps the files of the last stage as a tar, modes and links as in the context', async () => {
    await using context = await createContext({
      Dockerfile: 'FROM scratch\nCOPY d /d\n',
      'd/run.sh': '#!/bin/sh\n',
    });
    const { headers, exit } = await curl(
      '-F',
      `context=@${context.archive}`,
      '-F',
      'output=local',
      `${service.httpUrl}/build`,
    );
    assert.equal(exit, 0);
    const id = /x-build-id: (\S+)/i.exec(headers)?.[1] ?? '';
    const { path } = await service.builds.artifact(localAdmin, id);
    const { stdout } = await run('tar', ['-tf', path]);
    assert.deepEqual(stdout.trim().split('\n'), ['d/', 'd/run.sh']);
  });

  test('a log of 50 MiB arrives unclipped', async () => {
    // Long lines: of many short ones buildctl itself would fail under emulation (moby/buildkit #6940).
    const line = 'x'.repeat(8191);
    const files = { Dockerfile: `FROM busybox\nRUN yes ${line} | head -c ${50 * 1024 * 1024}\n` };
    const { exit, body, id } = await build(service, files);
    assert.equal(exit, 0, body.slice(-2000));
    // BuildKit prints a line in two where its buffers end, the second part without a time: what counts is what the step wrote.
    const pieces = Array.from(body.matchAll(/^(?:#5 [\d.]+ )?(x+)$/gm), ([, piece = '']) => piece.length);
    assert.equal(
      pieces.reduce((sum, length) => sum + length, 0),
      (50 * 1024 * 1024 * 8191) / 8192,
    );
    assert.ok(body.includes(await (await fetch(`${service.httpUrl}/v1/builds/${id}/log`)).text()));
  });
});
