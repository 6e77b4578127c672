import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listSettings, parseConfig } from '../../src/config/config.ts';

const names = listSettings().map(({ name }) => name);
const defaults = parseConfig({}, true);

for (const name of names) {
  for (const empty of ['', ' ', '\t\n']) {
    test(`${name}=${JSON.stringify(empty)} means its default`, () => {
      assert.deepEqual(parseConfig({ [name]: empty }, true), defaults);
    });
  }
}

test('no limit is switched off by a variable that is set to nothing', () => {
  const allEmpty = parseConfig(Object.fromEntries(names.map((name) => [name, ''])), true);
  assert.deepEqual(allEmpty, defaults);
  assert.ok(allEmpty.KILN_MIN_FREE_BYTES > 0 && allEmpty.KILN_POOL_SIZE > 0 && allEmpty.KILN_QUEUE_LIMIT > 0);
});

const numbers = names.filter((name) => typeof defaults[name as keyof typeof defaults] === 'number');

for (const name of numbers) {
  for (const wrong of ['-1', '1.5', '1e6', '0x10', 'many', '1 000', 'Infinity', '99999999999999999999']) {
    test(`${name}=${wrong} is refused by its name`, () => {
      const refused = { code: 'CONFIG_INVALID', message: new RegExp(`^${name}: must be `) };
      assert.throws(() => parseConfig({ [name]: wrong }, true), refused);
    });
  }
  test(`${name} takes its own default, with blanks around it`, () => {
    const value = defaults[name as keyof typeof defaults];
    assert.deepEqual(parseConfig({ [name]: ` ${String(value)} ` }, true), defaults);
  });
}

test('the token of a caller is none of the settings, and harms none', () => {
  assert.deepEqual(parseConfig({ KILN_TOKEN: 'kiln_x' }, true), defaults);
  assert.throws(() => parseConfig({ KILN_TOKENS: 'kiln_x' }, true), { message: /no setting KILN_TOKENS/ });
});

test('zero is taken where it was written, and only where it means something', () => {
  const zero = numbers.filter((name) => {
    try {
      return parseConfig({ [name]: '0' }, true)[name as keyof typeof defaults] === 0;
    } catch {
      return false;
    }
  });
  assert.deepEqual(zero, [
    'KILN_POOL_SIZE',
    'KILN_POOL_FROZEN',
    'KILN_QUEUE_LIMIT',
    'KILN_NO_OUTPUT_TIMEOUT_SECONDS',
    'KILN_MIN_FREE_BYTES',
    'KILN_SHUTDOWN_GRACE_SECONDS',
  ]);
});

for (const name of ['KILN_HOSTS', 'KILN_REGISTRY_MIRRORS', 'KILN_EGRESS_ALLOW'] as const) {
  test(`${name} is a list: blanks and empty items are dropped`, () => {
    for (const [text, items] of [
      ['a', ['a']],
      [' a , b,', ['a', 'b']],
      [',, a ,,\tb\n', ['a', 'b']],
      [' , ', []],
    ] as const) {
      assert.deepEqual(parseConfig({ [name]: text }, true)[name], items);
    }
  });
}

for (const name of ['KILN_DATA_DIR', 'KILN_CACHE_DIR'] as const) {
  test(`${name} is an absolute path`, () => {
    const directory = name === 'KILN_DATA_DIR' ? 'dataDirectory' : 'cacheDirectory';
    assert.equal(parseConfig({ [name]: ' /srv/kiln ' }, false)[directory], '/srv/kiln');
    assert.throws(() => parseConfig({ [name]: 'kiln' }, false), {
      code: 'CONFIG_INVALID',
      message: `${name}: 'kiln' is not an absolute path.`,
    });
  });
}

test('a usual time beyond the most that a build may ask for is refused', () => {
  const env = { KILN_BUILD_TIMEOUT_SECONDS: '600', KILN_BUILD_TIMEOUT_MAX_SECONDS: '300' };
  assert.throws(() => parseConfig(env, false), { code: 'CONFIG_INVALID', message: /MAX_SECONDS \(300\)/ });
});

test('registries of plain HTTP are named by host and port, as a repository names them', () => {
  const read = (text: string) => parseConfig({ KILN_REGISTRY_INSECURE: text }, true).KILN_REGISTRY_INSECURE;
  assert.deepEqual(read('registry.internal:5000, 10.0.0.5'), ['registry.internal:5000', '10.0.0.5']);
  for (const wrong of ['http://registry.internal:5000', 'registry.internal/kiln', '*', 'registry.internal:'])
    assert.throws(() => read(wrong), {
      code: 'CONFIG_INVALID',
      message: /^KILN_REGISTRY_INSECURE\.0: must be host or host:port\.$/,
    });
});
