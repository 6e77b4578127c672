import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { createDnsResolver, createLocalResolver } from '../../src/egress/resolve-host.ts';

const { signal } = new AbortController();
const typeA = 1;
const typeAaaa = 28;
const noError = 0;
const nameError = 3;
const serverFailure = 2;

type Answer = Buffer | number | 'silence';

/** A name server on loopback: for each type of question an address, a failure code, or nothing. */
async function startNameServer(answers: Record<number, Answer>) {
  const socket = createSocket('udp4');
  const questions: number[] = [];
  socket.on('message', (query, { port, address }) => {
    const type = query.readUInt16BE(query.indexOf(0, 12) + 1);
    questions.push(type);
    const answer = answers[type] ?? nameError;
    if (answer !== 'silence') socket.send(encodeAnswer(query, type, answer), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    questions,
    socket,
    resolve: createDnsResolver([`127.0.0.1:${socket.address().port}`]),
    [Symbol.dispose]: () => void socket.close(),
  };
}

/** RFC 1035 4.1: the header and the question as they came, then one address that points back to the question's name. */
function encodeAnswer(query: Buffer, type: number, answer: Buffer | number): Buffer {
  const question = query.subarray(12, query.indexOf(0, 12) + 5);
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(0x8180 | (typeof answer === 'number' ? answer : 0), 2);
  for (const [offset, count] of [1, typeof answer === 'number' ? 0 : 1, 0, 0].entries()) {
    header.writeUInt16BE(count, 4 + 2 * offset);
  }
  if (typeof answer === 'number') return Buffer.concat([header, question]);
  const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, answer.length]);
  return Buffer.concat([header, question, record, answer]);
}

const v4 = Buffer.from([93, 184, 215, 14]);
const v6 = Buffer.from('26062800000000000000000000000001', 'hex');

const cases: readonly (readonly [string, Record<number, Answer>, string[] | null])[] = [
  ['IPv4 first, then IPv6', { [typeA]: v4, [typeAaaa]: v6 }, ['93.184.215.14', '2606:2800::1']],
  ['IPv4 where IPv6 fails', { [typeA]: v4, [typeAaaa]: serverFailure }, ['93.184.215.14']],
  ['IPv6 where there is no IPv4', { [typeA]: nameError, [typeAaaa]: v6 }, ['2606:2800::1']],
  ['null for a name there is not', {}, null],
  ['nothing for a name without addresses', { [typeA]: noError, [typeAaaa]: noError }, []],
];

for (const [title, answers, expected] of cases) {
  test(`DNS gives ${title}`, async () => {
    using server = await startNameServer(answers);
    assert.deepEqual(await server.resolve('some.test', signal), expected);
    assert.ok(server.questions.includes(typeA) && server.questions.includes(typeAaaa));
  });
}

test('a name server that fails is no answer', async () => {
  using server = await startNameServer({ [typeA]: serverFailure, [typeAaaa]: serverFailure });
  await assert.rejects(server.resolve('some.test', signal), { code: 'ESERVFAIL' });
});

test('a question is given up by its signal', async () => {
  using server = await startNameServer({ [typeA]: 'silence', [typeAaaa]: 'silence' });
  const controller = new AbortController();
  const asked = once(server.socket, 'message');
  const answer = server.resolve('some.test', controller.signal);
  await asked;
  controller.abort();
  await assert.rejects(answer, { code: 'ECANCELLED' });
});

test('names of this machine are found where the operator set them', async () => {
  assert.ok(
    (await createLocalResolver()('localhost', signal))?.some((address) =>
      ['127.0.0.1', '::1'].includes(address),
    ),
  );
  assert.equal(await createLocalResolver()('a..b', signal), null);
});
