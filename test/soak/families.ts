import type { BaseRecipe } from './base-image.ts';

/** Programs that share an image, and where they get their packages. */
type Family = {
  readonly recipe: BaseRecipe;
  /** Below the registry, what this machine is asked for first. */
  readonly probe: string;
};

const npmVersion = '10.9.2';

/** Debian's own tools, and whatever fetches files. */
const plain: Family = {
  recipe: {
    name: 'plain',
    packages: ['curl', 'git', 'openssh-client', 'busybox-static'],
    defaults: 'cut -d " " -f 2 "$1/etc/apt/sources.list"',
  },
  probe: 'dists/bookworm/InRelease',
};

const python: Family = {
  recipe: {
    name: 'python',
    packages: ['python3', 'python3-pip'],
    defaults: `chroot "$1" python3 -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)'`,
  },
  probe: 'six/',
};

/** npm from the registry: Debian's is four hundred packages. */
const node: Family = {
  recipe: {
    name: 'node',
    packages: ['nodejs'],
    customize: [
      'modules="$1/usr/lib/node_modules"',
      'mkdir -p "$modules"',
      `npm install --global --prefix "$1/usr" --ignore-scripts --no-audit --no-fund npm@${npmVersion}`,
    ].join('; '),
    defaults: 'HOME=/ chroot "$1" npm config get registry',
  },
  probe: 'ws',
};

const go: Family = {
  recipe: {
    name: 'go',
    packages: ['golang-go'],
    without: ['/usr/share/go-*/test/*', '/usr/lib/go-*/pkg/linux_amd64*', '/usr/share/go-*/api/*'],
    defaults: `chroot "$1" env -i PATH=/usr/bin HOME=/root go env GOPROXY | tr , '\\n'`,
  },
  probe: 'github.com/pkg/errors/@v/v0.9.1.info',
};

const java: Family = {
  recipe: {
    name: 'java',
    packages: ['maven', 'openjdk-17-jre-headless'],
    defaults: [
      'unzip -p "$1"/usr/share/maven/lib/maven-model-builder-*.jar org/apache/maven/model/pom-4.0.0.xml',
      `sed -n 's/.*<url>\\(.*\\)<.url>.*/\\1/p'`,
      'head -n 1',
    ].join(' | '),
  },
  probe: 'org/apache/maven/plugins/maven-clean-plugin/maven-metadata.xml',
};

export const families = { plain, python, node, go, java };
