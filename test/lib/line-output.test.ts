import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { LineOutput, type LostLines } from '../../src/lib/line-output.ts';
import { createSmallDisk, fillDisk } from '../small-disk.ts';

test('lines are out when the call returns, whole and in order', async () => {
  await using disk = await createSmallDisk(1);
  const path = join(disk.path, 'log');
  await using file = await open(path, 'w');
  const output = new LineOutput(file.fd, () => assert.fail('a line was lost'));
  output.write('one\n');
  assert.equal(await readFile(path, 'utf8'), 'one\n');
  output.write(`${'ü'.repeat(100_000)}\n`);
  assert.equal(await readFile(path, 'utf8'), `one\n${'ü'.repeat(100_000)}\n`);
});

test('what a full disk does not take is lost, and told of once there is room; a line that was cut is ended', async () => {
  await using disk = await createSmallDisk(1);
  const [path, ballast] = [join(disk.path, 'log'), join(disk.path, 'ballast')];
  await using file = await open(path, 'w');
  const told: LostLines[] = [];
  const output: LineOutput = new LineOutput(file.fd, (lost) => {
    told.push(lost);
    output.write('some were lost\n');
  });
  // The first line ends in a block that there is no more room for.
  output.write('begin\n');
  await fillDisk(ballast);
  for (const name of ['a', 'b', 'c']) output.write(`${name.repeat(5000)}\n`);
  assert.equal(told.length, 0);
  await rm(ballast);
  output.write('again\n');
  assert.deepEqual(
    told.map(({ lines, cause }) => [lines, /ENOSPC/.test(String(cause))]),
    [[3, true]],
  );
  output.write('more\n');
  assert.match(await readFile(path, 'utf8'), /^begin\na+\nagain\nsome were lost\nmore\n$/);
});

test('an output that nobody reads any more ends nobody', async () => {
  const program = `
    const { createProcessLogger } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/lib/pino-logger.ts'))});
    const logger = createProcessLogger('info');
    for (let line = 0; line < 3; line += 1) logger.info({ line }, 'hello');
    setTimeout(() => process.exit(7), 50);`;
  for (const target of ['/dev/full', '| true']) {
    const redirect = target.startsWith('|')
      ? `2>&1 >/dev/null ${target}; exit "\${PIPESTATUS[0]}"`
      : `2>${target}`;
    const script = `"$0" --input-type=module --eval "$1" ${redirect}`;
    const { promise, resolve } = Promise.withResolvers<number | null>();
    const child = execFile('bash', ['-c', script, process.execPath, program], { timeout: 60_000 });
    child.once('exit', resolve);
    assert.equal(await promise, 7, target);
  }
});

test('a reader that takes nothing for a while holds up nobody, and gets what comes later', async () => {
  const program = `
    const { LineOutput } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/lib/line-output.ts'))});
    const output = new LineOutput(1, ({ lines, cause }) => {
      output.write(lines + ' lost, ' + cause.code + '\\n');
      process.exit();
    });
    const started = performance.now();
    for (let line = 0; line < 100; line += 1) output.write('x'.repeat(50_000) + '\\n');
    console.error(performance.now() - started);
    process.stdin.once('data', () => setInterval(() => output.write('again\\n'), 20));`;
  // Outputs that Node gives to a child block; what another parent gives may not.
  const unblock = 'use Fcntl; fcntl(STDOUT, F_SETFL, O_NONBLOCK) or die; exec @ARGV';
  const child = spawn('perl', [
    '-e',
    unblock,
    ...[process.execPath, '--input-type=module', '--eval', program],
  ]);
  const [took] = await once(child.stderr, 'data');
  assert.ok(Number(took) < 5000, `${took} ms`);
  const read = text(child.stdout);
  // What is there by now is read, so that there is room again.
  await once(child.stdout, 'data');
  child.stdin.end('go on\n');
  const lines = (await read).split('\n');
  assert.equal(lines[0], 'x'.repeat(50_000));
  assert.equal(lines.at(-3), 'again');
  assert.match(lines.at(-2) ?? '', /^\d+ lost, EAGAIN$/);
});
