import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NameBook } from '../../src/egress/name-book.ts';

test('two names never share an address, also where their hashes do, and each leads back', () => {
  const book = new NameBook();
  const names = Array.from({ length: 20_000 }, (_, at) => `n${at}.example`);
  const addresses = names.map((name) => book.addressOf(name));
  assert.equal(new Set(addresses).size, names.length);
  for (const address of addresses) assert.match(address, /^198\.1[89]\.\d+\.(?!0$|255$)\d+$/);
  assert.deepEqual(
    addresses.map((address) => book.nameOf(address)),
    names,
  );
  assert.deepEqual(
    names.map((name) => book.addressOf(name)),
    addresses,
  );
});

test('the address of a name does not depend on when it was asked for', () => {
  const [first, second] = [new NameBook(), new NameBook()];
  first.addressOf('a.example');
  second.addressOf('b.example');
  assert.equal(first.addressOf('b.example'), second.addressOf('b.example'));
});

test('of more names than fit, those asked for last are kept', () => {
  const book = new NameBook(100);
  const first = book.addressOf('first.example');
  const kept = book.addressOf('kept.example');
  for (let at = 0; at < 1000; at += 1) {
    book.addressOf(`n${at}.example`);
    book.addressOf('kept.example');
  }
  assert.notEqual(book.nameOf(first), 'first.example');
  assert.equal(book.nameOf(kept), 'kept.example');
});

test('what is no address of the book has no name', () => {
  const book = new NameBook();
  book.addressOf('a.example');
  for (const text of ['198.17.255.1', '198.20.0.1', '10.0.0.1', '::1', 'a.example', '', '198.18'])
    assert.equal(book.nameOf(text), null, text);
});
