import { isUtf8 } from 'node:buffer';
import type { BuildSecrets } from '../../model/build-secrets.ts';

/** Shorter ones would be found in words that have nothing to do with them. */
const minMaskedBytes = 8;
/** Of all forms of all secrets of a build: what is looked for is kept in memory, byte by byte. */
const maxFormBytes = 256 * 1024;

/** What is looked for in a log. */
export type SecretForms = {
  readonly forms: readonly Buffer[];
  /** What of the secrets is not looked for, in sentences. */
  readonly warnings: readonly string[];
};

type Named = { readonly name: string; readonly value: Buffer };

/**
 * Every way in which a secret is likely to be printed: as it is, in base64 of either alphabet (also within more), in hexadecimal, in a URL and
 * in JSON. Of several lines each is looked for, too, as BuildKit puts something before each.
 */
export function findSecretForms(secrets: BuildSecrets): SecretForms {
  const wholes = valuesOf(secrets).map(({ name, value }) => ({ name, value: trim(value) }));
  const short = wholes.filter(({ value }) => value.length > 0 && value.length < minMaskedBytes);
  const lines = wholes.flatMap(({ name, value }) => linesOf(value).map((line) => ({ name, value: line })));
  const room = new FormRoom();
  // Should there be no room for all, what comes first is more likely to be printed.
  for (const parts of [wholes, lines])
    for (const encode of [asItIs, encodings])
      for (const { name, value } of parts) if (value.length >= minMaskedBytes) room.add(name, encode(value));
  return {
    forms: [...room.forms],
    warnings: [
      ...short.map(
        ({ name }) =>
          `${name} has fewer than ${minMaskedBytes} bytes, so that it is not masked in the log: print it nowhere.`,
      ),
      ...[...room.incomplete].map(
        (name) => `${name} is too large to be masked in the log in every form: print it nowhere.`,
      ),
    ],
  };
}

class FormRoom {
  readonly #found = new Map<string, Buffer>();
  #bytes = 0;
  readonly incomplete = new Set<string>();

  get forms(): Iterable<Buffer> {
    return this.#found.values();
  }

  add(name: string, forms: readonly Buffer[]): void {
    for (const form of forms) {
      if (form.length > maxFormBytes - this.#bytes) this.incomplete.add(name);
      else if (form.length >= minMaskedBytes && !this.#found.has(form.toString('latin1'))) {
        this.#found.set(form.toString('latin1'), form);
        this.#bytes += form.length;
      }
    }
  }
}

function valuesOf({ accounts, secrets, sshKeys }: BuildSecrets): Named[] {
  const ofAccounts = Object.entries(accounts).flatMap(([host, account]) => {
    const { auth = '', identitytoken = '', registrytoken = '' } = account;
    const password = Buffer.from(auth, 'base64')
      .toString('latin1')
      .replace(/^[^:]*:/, '');
    return [
      Buffer.from(password, 'latin1'),
      ...[auth, identitytoken, registrytoken].map((text) => Buffer.from(text)),
    ].map((value) => ({ name: `The account of ${host}`, value }));
  });
  return [
    ...ofAccounts,
    ...secrets.map(({ id, value }) => ({ name: `The secret '${id}'`, value })),
    ...sshKeys.map(({ id, value }) => ({ name: `The ssh key '${id}'`, value })),
  ];
}

function trim(value: Buffer): Buffer {
  return Buffer.from(value.toString('latin1').replace(/^[\r\n]+|[\r\n]+$/g, ''), 'latin1');
}

/** None of a single line. What PEM puts around a key is no secret. */
function linesOf(value: Buffer): Buffer[] {
  const lines = value.toString('latin1').split(/[\r\n]+/);
  if (lines.length === 1) return [];
  return lines.filter((line) => !line.startsWith('-----')).map((line) => Buffer.from(line.trim(), 'latin1'));
}

function asItIs(value: Buffer): Buffer[] {
  return [value];
}

function encodings(value: Buffer): Buffer[] {
  const texts = [
    value.toString('hex'),
    value.toString('hex').toUpperCase(),
    ...[0, 1, 2].flatMap((offset) => withinBase64(value, offset)),
    ...inUrl(value),
    ...(isUtf8(value) ? inJson(value.toString('utf8')) : []),
  ];
  return texts.map((text) => Buffer.from(text));
}

/** The letters that it alone decides where base64 is made of more, with so many bytes (modulo 3) before it. */
function withinBase64(value: Buffer, offset: number): string[] {
  const bits = Buffer.concat([Buffer.alloc(offset), value]);
  const first = Math.ceil((offset * 8) / 6);
  const last = Math.floor((bits.length * 8) / 6);
  return (['base64', 'base64url'] as const).map((alphabet) => bits.toString(alphabet).slice(first, last));
}

function inUrl(value: Buffer): string[] {
  const encode = (upper: boolean, space: string): string =>
    [...value]
      .map((byte) => {
        const letter = String.fromCharCode(byte);
        if (/[A-Za-z0-9._~-]/.test(letter)) return letter;
        if (byte === 0x20) return space;
        const hex = byte.toString(16).padStart(2, '0');
        return `%${upper ? hex.toUpperCase() : hex}`;
      })
      .join('');
  return [encode(true, '%20'), encode(true, '+'), encode(false, '%20')];
}

/** Go writes three more letters by their numbers. */
function inJson(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const go = json.replace(/[<>&]/g, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`);
  return [json, go];
}
