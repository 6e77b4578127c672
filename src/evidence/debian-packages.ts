/** One package of a Debian or Ubuntu root file system. */
export type DebianPackage = {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
};

/** Debian policy 5.6.1, 5.6.12 and 5.6.8. What comes out of a VM is not to be trusted with a document. */
const shapes = {
  name: /^[a-z0-9][a-z0-9+.-]{0,127}$/,
  version: /^[0-9A-Za-z][0-9A-Za-z.+:~-]{0,127}$/,
  architecture: /^[a-z0-9-]{1,32}$/,
};

/**
 * The installed packages that dpkg's status file names, by name.
 * @throws Error where it names something that no package can be called
 */
export function parseDpkgStatus(text: string): DebianPackage[] {
  const stanzas = text.split(/\n\n+/).map(readFields);
  const installed = stanzas.filter((fields) => fields.get('Status')?.endsWith(' installed'));
  return installed.map(toPackage).toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function toPackage(fields: ReadonlyMap<string, string>): DebianPackage {
  const one = {
    name: fields.get('Package') ?? '',
    version: fields.get('Version') ?? '',
    architecture: fields.get('Architecture') ?? '',
  };
  for (const part of ['name', 'version', 'architecture'] as const) {
    if (!shapes[part].test(one[part]))
      throw new Error(
        `dpkg's status file has a package with the ${part} ${JSON.stringify(one[part].slice(0, 100))}.`,
      );
  }
  return one;
}

/** Of the stanza's fields those that fit on one line. */
function readFields(stanza: string): Map<string, string> {
  const lines = stanza.split('\n').filter((line) => /^[A-Z]/.test(line));
  return new Map(
    lines.map((line) => {
      const at = line.indexOf(':');
      return [line.slice(0, at), line.slice(at + 1).trim()] as const;
    }),
  );
}
