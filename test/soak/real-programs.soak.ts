import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { runTool } from '../../src/lib/process/run-tool.ts';
import { startForFile } from '../e2e/harness.ts';
import { startOrigin } from '../e2e/origin.ts';
import { ensureBaseImage, pushBaseImage } from './base-image.ts';
import { families } from './families.ts';
import { findRegistry, goProxy, mavenMirror, npmRegistry, pipIndex } from './registries.ts';
import { tryPrograms } from './run-family.ts';
import { serveReset, serveSsh, serveTls, serveWebSocket } from './servers.ts';

/** Programs that know of no proxy, as they come with Debian, each after the tiniest thing that it would get on a laptop. */
const { signal } = new AbortController();
const resources = new AsyncDisposableStack();
after(() => resources.disposeAsync());

const origin = resources.use(await startOrigin());
const secure = resources.use(await serveTls(origin.httpPort));
const ssh = resources.use(await serveSsh(origin.repository));
const webSocket = resources.use(await serveWebSocket());
const reset = resources.use(await serveReset());
const host = 'host.kiln.internal';
const plainUrl = `http://${host}:${origin.httpPort}`;
const secureUrl = `https://${host}:${secure.port}`;

const images = {
  plain: await ensureBaseImage(families.plain.recipe),
  python: await ensureBaseImage(families.python.recipe),
  node: await ensureBaseImage(families.node.recipe),
  go: await ensureBaseImage(families.go.recipe),
  java: await ensureBaseImage(families.java.recipe),
};
const registries = {
  // Debian's programs go where the image has it: that comes from this machine already.
  plain: await find('plain', null),
  python: await find('python', await pipIndex()),
  node: await find('node', await npmRegistry()),
  go: await find('go', await goProxy()),
  java: await find('java', await mavenMirror()),
};

function find(family: keyof typeof images, own: string | null) {
  return findRegistry({ own, defaults: images[family].defaults }, families[family].probe);
}

const ownPorts = [origin.httpPort, origin.echoPort, secure.port, ssh.port, webSocket.port, reset.port];
const opened = [
  ...ownPorts.map((port) => `${host}:${port}`),
  ...Object.values(registries).flatMap((registry) => registry.opened),
];
const { service, registry } = await startForFile({
  KILN_EGRESS_ALLOW: opened.join(),
  // Under emulation every VM that waits takes from the one that builds.
  ...{ KILN_POOL_SIZE: '1', KILN_POOL_FROZEN: '0' },
});
for (const [name, image] of Object.entries(images)) await pushBaseImage(registry.url, image, `soak-${name}`);

tryPrograms(
  {
    ...{ service, image: 'soak-plain' },
    files: { 'certificate.pem': secure.certificate, key: ssh.privateKey, 'known-hosts': ssh.knownHosts },
  },
  [
    {
      name: 'apt-get update and install from the mirror',
      lines: ['apt-get update', 'apt-get install -y --no-install-recommends hello', 'hello'],
    },
    {
      name: 'curl over https',
      lines: [`curl -fsS --cacert certificate.pem ${secureUrl}/hello | grep hello`],
    },
    {
      name: 'busybox wget over http, and over https by openssl and by itself, as in Alpine',
      lines: [
        `busybox wget -qO- ${plainUrl}/hello | grep hello`,
        `SSL_CERT_FILE=certificate.pem busybox wget -qO- ${secureUrl}/hello | grep hello`,
        `PATH=/nowhere /bin/busybox wget -qO- ${secureUrl}/hello | grep hello`,
      ],
    },
    {
      name: 'git clone over https',
      lines: [
        `GIT_SSL_CAINFO=/soak/certificate.pem git clone -q ${secureUrl}/repo.git over-https`,
        'grep "from git" over-https/read-me',
      ],
    },
    {
      name: 'git clone over ssh',
      lines: [
        'chmod 600 key',
        'export GIT_SSH_COMMAND="ssh -i key -o UserKnownHostsFile=known-hosts -o StrictHostKeyChecking=yes"',
        `git clone -q ssh://root@${host}:${ssh.port}/repo.git over-ssh`,
        'grep "from git" over-ssh/read-me',
      ],
    },
    {
      name: 'git:// is refused at once where it is not open',
      lines: [`! timeout 60 git clone -q git://${host}/repo.git closed`, 'test ! -e closed'],
    },
  ],
);

const socketScript = `
import socket
def connect(port):
    return socket.create_connection(("${host}", port))
with connect(${origin.echoPort}) as echo:
    echo.sendall(b"hello")
    echo.shutdown(socket.SHUT_WR)
    said = b""
    while piece := echo.recv(100):
        said += piece
    assert said == b"<hello>.", said
with connect(${ssh.port}) as server_first:
    assert server_first.recv(4) == b"SSH-"
with connect(${reset.port}) as cut:
    cut.sendall(b"x")
    try:
        raise AssertionError(cut.recv(1))
    except ConnectionResetError:
        pass
try:
    connect(${origin.echoPort} - 1)
    raise AssertionError("connected")
except ConnectionRefusedError:
    pass
`;

tryPrograms(
  {
    ...{ service, image: 'soak-python' },
    env: { PIP_INDEX_URL: registries.python.url, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
    files: { 'socket.txt': socketScript },
  },
  [
    {
      name: 'a raw socket: half-closed, server first, reset, refused',
      lines: ['python3 - <socket.txt'],
    },
    {
      name: 'pip installs from the index',
      lines: [
        'pip install --cert /etc/ssl/certs/ca-certificates.crt --no-deps --no-cache-dir --no-compile --target to six==1.16.0',
        'PYTHONPATH=to python3 -c "import six; print(six.__version__)"',
      ],
    },
  ],
);

const small = await lockedPackages({ ws: '8.18.0' });
const many = await lockedPackages({ express: '4.21.2', 'es-abstract': '1.23.9' });

tryPrograms(
  {
    ...{ service, image: 'soak-node' },
    env: {
      npm_config_registry: registries.node.url,
      ...{ npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' },
      NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
    },
    files: {
      ...inFolder('small', small),
      ...inFolder('many', many),
      'fetch.mjs': `const answer = await fetch('${registries.node.url}/ws/8.18.0');
        if ((await answer.json()).version !== '8.18.0') throw new Error(String(answer.status));`,
      'get.mjs': `import { get } from 'node:http';
        get('${plainUrl}/hello', (answer) => answer.pipe(process.stdout));`,
      'small/echo.mjs': `import { WebSocket } from 'ws';
        const socket = new WebSocket('ws://${host}:${webSocket.port}/');
        socket.on('open', () => socket.send('by web socket'));
        socket.on('message', (data) => { console.log(String(data)); socket.close(); });`,
    },
  },
  [
    { name: "Node's own fetch, over https", lines: ['node fetch.mjs'] },
    { name: 'http.get', lines: ['node get.mjs | grep hello'] },
    { name: 'npm ci of one package', lines: ['cd small', 'npm ci', 'ls node_modules/ws'] },
    { name: 'a WebSocket', lines: ['cd small', 'node echo.mjs | grep "by web socket"'] },
    {
      name: `npm ci of ${packagesIn(many)} packages at once`,
      lines: [
        'cd many',
        'npm ci',
        `test "$(find node_modules -name package.json | wc -l)" -ge ${packagesIn(many)}`,
      ],
    },
  ],
);

tryPrograms(
  {
    ...{ service, image: 'soak-go' },
    env: { GOPROXY: registries.go.url },
    files: {
      'go.mod': 'module soak\n\ngo 1.19\n\nrequire github.com/pkg/errors v0.9.1\n',
      // With its hashes no other server is asked for them.
      'go.sum': [
        'github.com/pkg/errors v0.9.1 h1:FEBLx1zS214owpjy7qsBeixbURkuhQAwrK5UwLGTwt4=',
        'github.com/pkg/errors v0.9.1/go.mod h1:bwawxfHBFNV+L2hUp1rHADufV3IMtnDRdf1r5NINEl0=\n',
      ].join('\n'),
    },
  },
  [
    {
      name: 'go mod download',
      lines: ['go mod download -x', 'ls /root/go/pkg/mod/github.com/pkg/errors@v0.9.1'],
    },
  ],
);

tryPrograms(
  {
    ...{ service, image: 'soak-java' },
    env: { JAVA_TOOL_OPTIONS: '-XX:TieredStopAtLevel=1' },
    files: {
      'settings.xml': `<settings><mirrors><mirror><id>here</id><mirrorOf>central</mirrorOf>
        <url>${registries.java.url}</url></mirror></mirrors></settings>`,
      'pom.xml': `<project><modelVersion>4.0.0</modelVersion><groupId>soak</groupId><artifactId>soak</artifactId>
        <version>1</version><packaging>pom</packaging></project>`,
      'Get.java': `import java.net.*;
        class Get { public static void main(String[] a) throws Exception {
          System.out.println(new String(new URL("${plainUrl}/hello").openConnection().getInputStream().readAllBytes()));
        } }`,
    },
  },
  [
    { name: 'HttpURLConnection', lines: ['java Get.java | grep hello'] },
    {
      name: 'Maven resolves a plugin over https',
      lines: ['mvn -B -ntp -s settings.xml org.apache.maven.plugins:maven-clean-plugin:3.2.0:clean'],
    },
  ],
);

/** A package.json, and the lock that this machine's npm makes of it. */
async function lockedPackages(
  dependencies: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const directory = await mkdtemp(join(tmpdir(), 'kiln-lock-'));
  const manifest = join(directory, 'package.json');
  await writeFile(manifest, JSON.stringify({ name: 'soak', version: '1.0.0', dependencies }));
  const options = ['--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund'];
  await runTool('npm', ['install', '--prefix', directory, ...options], signal);
  const files = {
    'package.json': await readFile(manifest, 'utf8'),
    'package-lock.json': await readFile(join(directory, 'package-lock.json'), 'utf8'),
  };
  await rm(directory, { recursive: true });
  return files;
}

function inFolder(folder: string, files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, text]) => [`${folder}/${name}`, text]));
}

/** Those of a lock, but for its root. */
function packagesIn({ 'package-lock.json': lock = '{}' }: Readonly<Record<string, string>>): number {
  const { packages = {} } = JSON.parse(lock) as { packages?: Readonly<Record<string, unknown>> };
  return Object.keys(packages).length - 1;
}
