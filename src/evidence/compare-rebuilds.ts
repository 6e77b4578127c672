/** What one rebuild made: the sha256 (lower-case hex) of each file, and of each layer and binary, by a name that says what it is. */
export type Made = Readonly<Record<string, string>>;

export type Difference = {
  readonly name: string;
  /** sha256; null where that rebuild made none. */
  readonly one: string | null;
  readonly other: string | null;
  /** Whether two rebuilds from the same pins may differ in this. */
  readonly expected: boolean;
  readonly why: string;
};

type Rule = { readonly matches: RegExp; readonly expected: boolean; readonly why: string };

/** Names of `Made`, most special first. */
const rules: readonly Rule[] = [
  {
    matches: /^binary /,
    expected: false,
    why: 'programs are built from the same modules by the same toolchain without paths or times, and so are the same',
  },
  {
    matches: /^ctr layer /,
    expected: false,
    why: 'it is made from pins, with one time for all files where a buildkitd on the machine makes it; the package archive has other versions now, a VM made one of the two, or a step wrote what is never twice the same',
  },
  {
    matches: /^ctr /,
    expected: false,
    why: 'it names the layers of the ctr image, of which one differs',
  },
  {
    matches: /^kernel$/,
    expected: false,
    why: 'it is a file of a package, of which the archive has another version now',
  },
  {
    matches: /^initrd$/,
    expected: false,
    why: 'it is made of files of packages, with one time for all: the package archive has other versions now',
  },
  {
    matches: /^disk\.qcow2$/,
    expected: true,
    why: 'a file system that was made anew, with a UUID, a hash seed and times of its own',
  },
  {
    matches: /^(dqd|manifest\.json)/,
    expected: true,
    why: 'it holds the disk, or names its digest',
  },
  {
    matches: /^(sbom|provenance)\b/,
    expected: true,
    why: 'it tells when and by which operation the image was made',
  },
  {
    matches: /^versions\.json$/,
    expected: false,
    why: 'it says what is inside: the package archive, or the pins, have other versions now',
  },
];
const unknown: Omit<Rule, 'matches'> = { expected: false, why: 'nothing is known of why this would differ' };

/** In which of their parts two rebuilds differ, and why, by name. None where they made the same. */
export function compareRebuilds(one: Made, other: Made): Difference[] {
  const names = [...new Set([...Object.keys(one), ...Object.keys(other)])].toSorted();
  return names
    .filter((name) => one[name] !== other[name])
    .map((name) => {
      const [first, second] = [one[name] ?? null, other[name] ?? null];
      if (first === null || second === null)
        return { name, one: first, other: second, expected: false, why: 'only one of the two made it' };
      const { expected, why } = rules.find(({ matches }) => matches.test(name)) ?? unknown;
      return { name, one: first, other: second, expected, why };
    });
}

/** One line for people. */
export function describeDifference({ name, one, other, expected, why }: Difference): string {
  const digests = [one, other].map((digest) => digest?.slice(0, 12) ?? 'none').join(' and ');
  return `${name} differs (${digests}), ${expected ? 'as it may' : 'and should not'}: ${why}`;
}
