import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalHost, formatHostPort, parseHostPort } from '../../src/egress/host-port.ts';
import { isAbout, parseHostRule } from '../../src/egress/host-rule.ts';
import { parseEgressRules, parseRegistryMirrors, registryConfig } from '../../src/egress/settings.ts';
import { KilnError } from '../../src/model/error.ts';

const spellings: readonly (readonly [string, string | null])[] = [
  ['Example.COM', 'example.com'],
  ['example.com.', 'example.com'],
  ['example.com..', null],
  ['0x7f.1', '127.0.0.1'],
  ['2130706433', '127.0.0.1'],
  ['0177.0.0.1', '127.0.0.1'],
  ['127.1.', '127.0.0.1'],
  ['256.1.1.1', null],
  ['::1', '::1'],
  ['[0:0:0:0:0:0:0:1]', '::1'],
  ['[::ffff:127.0.0.1]', '::ffff:7f00:1'],
  ['[fe80::1%eth0]', null],
  ['[::1', null],
  ['my_host', 'my_host'],
  ['a b', null],
  ['user@host', null],
  ['host/path', null],
  ['host#', null],
  ['hőst', null],
  ['%6c', null],
  ['.', null],
  ['', null],
  [`${'a'.repeat(63)}.`.repeat(4), null],
];

for (const [text, host] of spellings) {
  test(`the host ${JSON.stringify(text)} is ${host ?? 'none'}`, () =>
    assert.equal(canonicalHost(text), host));
}

const hostPorts: readonly (readonly [string, string | null])[] = [
  ['example.com:443', 'example.com:443'],
  ['10.0.0.5:1', '10.0.0.5:1'],
  ['[::1]:65535', '[::1]:65535'],
  ['[0::1]:80', '[::1]:80'],
  ['example.com', null],
  ['example.com:', null],
  ['example.com:0', null],
  ['example.com:65536', null],
  ['example.com:80x', null],
  ['example.com:80 ', null],
  ['::1:80', null],
  [':80', null],
  ['http://example.com:80', null],
  ['user@example.com:80', null],
  ['a:b@example.com:80', null],
];

for (const [text, expected] of hostPorts) {
  test(`${JSON.stringify(text)} is ${expected ?? 'no host and port'}`, () => {
    const parsed = parseHostPort(text);
    assert.equal(parsed && formatHostPort(parsed), expected);
  });
}

/** The rule, the hosts it is about, and some that it is not about. */
const rules: readonly (readonly [string, number | null, readonly string[], readonly string[]])[] = [
  ['Registry.LAN.:5000', 5000, ['registry.lan'], ['a.registry.lan', 'lan', '10.0.0.5']],
  ['10.0.0.5:443', 443, ['10.0.0.5'], ['10.0.0.6', '::ffff:10.0.0.5']],
  ['[0::1]:80', 80, ['::1'], ['::2', '127.0.0.1']],
  ['::1', null, ['::1'], ['::2']],
  ['10.0.0.0/8', null, ['10.0.0.0', '10.255.255.255'], ['11.0.0.0', 'ten.lan']],
  ['10.0.0.0/8:443', 443, ['10.1.2.3'], ['9.9.9.9']],
  ['[fd00::/8]:443', 443, ['fd12::1'], ['fe80::1', '10.0.0.1']],
  ['0.0.0.0/0', null, ['1.1.1.1'], ['::1']],
  ['*.Example.org', null, ['a.example.org', 'a.b.example.org'], ['example.org', 'aexample.org']],
  ['*.example.org:22', 22, ['a.example.org'], ['a.example.com']],
];

for (const [text, port, about, notAbout] of rules) {
  test(`the rule ${text} is about ${about.join(' and ')}, not ${notAbout.join(', ')}`, () => {
    const rule = parseHostRule(text);
    assert.ok(rule);
    assert.equal(rule.port, port);
    for (const host of about) assert.ok(isAbout(rule, host), host);
    for (const host of notAbout) assert.ok(!isAbout(rule, host), host);
  });
}

test('KILN_REGISTRY_MIRRORS leads an alias to each plain mirror; one with TLS keeps its name', () => {
  const mirrors = parseRegistryMirrors([
    'docker.io=http://127.0.0.1:5000',
    'docker.io=http://cache.lan/hub/',
    'quay.io=https://mirror.lan',
    'ghcr.io:444=https://m.lan:8443/a/b',
  ]);
  assert.deepEqual(
    mirrors.map(({ registry, alias, target, path }) => [
      registry,
      formatHostPort(alias),
      formatHostPort(target),
      path,
    ]),
    [
      ['docker.io', 'mirror-0.kiln.internal:80', '127.0.0.1:5000', ''],
      ['docker.io', 'mirror-1.kiln.internal:80', 'cache.lan:80', 'hub'],
      ['quay.io', 'mirror.lan:443', 'mirror.lan:443', ''],
      ['ghcr.io:444', 'm.lan:8443', 'm.lan:8443', 'a/b'],
    ],
  );
  assert.equal(
    registryConfig(mirrors),
    `[registry."docker.io"]
  mirrors = ["mirror-0.kiln.internal:80", "mirror-1.kiln.internal:80/hub"]

[registry."quay.io"]
  mirrors = ["mirror.lan"]

[registry."ghcr.io:444"]
  mirrors = ["m.lan:8443/a/b"]

[registry."mirror-0.kiln.internal:80"]
  http = true

[registry."mirror-1.kiln.internal:80"]
  http = true
`,
  );
});

test('no mirrors, no lines for buildkitd', () => assert.equal(registryConfig(parseRegistryMirrors([])), ''));

const parseRule = (kind: 'allow' | 'deny' | 'only') => (items: readonly string[]) =>
  parseEgressRules({ allow: [], deny: [], only: [], [kind]: items });

const wrong: readonly (readonly [(items: readonly string[]) => unknown, string, string])[] = [
  [parseRule('allow'), 'KILN_EGRESS_ALLOW', 'registry.lan'],
  [parseRule('allow'), 'KILN_EGRESS_ALLOW', 'ok.lan:1,10.0.0.5'],
  [parseRule('allow'), 'KILN_EGRESS_ALLOW', '[::1]'],
  [parseRule('allow'), 'KILN_EGRESS_ALLOW', '*.lan:80'],
  [parseRule('allow'), 'KILN_EGRESS_ALLOW', '10.0.0.0/33'],
  [parseRule('deny'), 'KILN_EGRESS_DENY', 'http://example.org'],
  [parseRule('deny'), 'KILN_EGRESS_DENY', 'a*.example.org'],
  [parseRule('deny'), 'KILN_EGRESS_DENY', 'example.org:0'],
  [parseRule('only'), 'KILN_EGRESS_ONLY', '*.10.0.0.1'],
  [parseRule('only'), 'KILN_EGRESS_ONLY', 'example.org/8'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'http://127.0.0.1:5000'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=127.0.0.1:5000'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=ftp://mirror.lan'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=http://user:pass@mirror.lan'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=http://mirror.lan?a=b'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=http://mirror.lan:0'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker"]\n[x=http://mirror.lan'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=https://127.0.0.1:5000'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=https://localhost'],
  [parseRegistryMirrors, 'KILN_REGISTRY_MIRRORS', 'docker.io=https://[::1]'],
];

for (const [parse, setting, text] of wrong) {
  test(`${setting}=${JSON.stringify(text)} is refused by its name`, () => {
    assert.throws(
      () => parse(text.split(',')),
      (error) =>
        error instanceof KilnError &&
        error.code === 'CONFIG_INVALID' &&
        error.message.startsWith(`${setting}: `),
    );
  });
}
