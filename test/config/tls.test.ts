import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { readAuthorities, readTlsIdentity } from '../../src/config/tls.ts';
import { makeIdentity } from '../tls-identity.ts';

const both = (cert: string | undefined, key: string | undefined) => ({
  KILN_TLS_CERT: cert,
  KILN_TLS_KEY: key,
});

test('certificate and key are read where both are set', async () => {
  await using tls = await makeIdentity();
  assert.equal(await readTlsIdentity(both(undefined, undefined)), null);
  assert.deepEqual(await readTlsIdentity(both(tls.certPath, tls.keyPath)), tls.identity);
});

test('what no server could use is told at the start, by the names of the settings, with no byte of the key', async () => {
  await using tls = await makeIdentity();
  await using other = await makeIdentity();
  const { certPath, keyPath } = tls;
  const refused = async (cert: string | undefined, key: string | undefined, told: RegExp): Promise<void> => {
    await assert.rejects(readTlsIdentity(both(cert, key)), (error: { code?: string; message: string }) => {
      assert.equal(error.code, 'CONFIG_INVALID');
      assert.match(error.message, told);
      const secret = tls.identity.key.toString().split('\n')[1] ?? '';
      assert.ok(!error.message.includes(secret));
      return true;
    });
  };
  await refused(certPath, undefined, /^KILN_TLS_CERT and KILN_TLS_KEY are set together or not at all\.$/);
  await refused(undefined, keyPath, /set together/);
  await refused(`${certPath}x`, keyPath, /^KILN_TLS_CERT cannot be read: ENOENT/);
  await refused(certPath, `${keyPath}x`, /^KILN_TLS_KEY cannot be read: ENOENT/);
  await refused(certPath, other.keyPath, /no certificate and its key.*mismatch/);
  await refused(keyPath, certPath, /no certificate and its key/);
  await writeFile(certPath, '');
  await refused(certPath, keyPath, /no certificate and its key/);
});

test('authorities are read one by one; what is none of them is told at the start', async () => {
  await using one = await makeIdentity();
  await using two = await makeIdentity();
  assert.deepEqual(await readAuthorities({ KILN_CA_CERTS: undefined }), []);
  const [first, second, key] = [one.identity.cert, two.identity.cert, two.identity.key].map(String);
  const file = one.certPath;
  await writeFile(file, `Who they are:\r\n${first?.replaceAll('\n', '\r\n')}\n${second}`);
  assert.deepEqual(await readAuthorities({ KILN_CA_CERTS: file }), [first, second]);
  const refused = async (content: string, told: RegExp): Promise<void> => {
    await writeFile(file, content);
    await assert.rejects(readAuthorities({ KILN_CA_CERTS: file }), { code: 'CONFIG_INVALID', message: told });
  };
  await refused('', /holds no certificate in PEM\.$/);
  await refused(`${first}${key}`, /holds a private key, which no VM may see\.$/);
  await refused(`${first}${second?.replace(/\n[^-]{9}/, '\nAAAAAAAAA')}`, /cannot be read, the 2\. of it\.$/);
  await assert.rejects(
    readAuthorities({ KILN_CA_CERTS: `${file}x` }),
    /^KilnError: KILN_CA_CERTS cannot be read: ENOENT/,
  );
});
