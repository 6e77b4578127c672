/**
 * The layers of ARCHITECTURE.md, as rules: imports point only down the rows, folders of one row never import one
 * another except where named, nothing is circular, and each library with sharp edges has one place that may
 * import it. test/check/guards.test.ts proves that every rule fires.
 */

const rows = [
  ['lib'],
  ['model'],
  ['host'],
  [
    'catalog',
    'context',
    'vm',
    'ssh',
    'egress',
    'logs',
    'artifacts',
    'audit',
    'store',
    'tokens',
    'registry',
    'evidence',
    'observe',
  ],
  ['pool', 'buildkit'],
  ['guest', 'scheduler'],
  ['fleet'],
  ['builds'],
  ['images'],
  ['operations'],
  ['http', 'grpc'],
  ['config'],
  ['cli'],
  ['host-setup.ts'],
  ['driver.ts'],
  ['service.ts'],
  ['main.ts'],
];

/** Library → the only place that may import it. */
const wardens = {
  'better-sqlite3': '^src/store/',
  dockerode: '^src/vm/',
  '@opentelemetry/[a-z-]+': '^src/observe/',
  '@prometheus-io/client': '^src/observe/metrics\\.ts$',
  execa: '^src/lib/process/',
  multer: '^src/http/',
  ssh2: '^src/ssh/',
};

const under = (names) => `^src/(${names.join('|').replaceAll('.', '\\.')})(/|$)`;

const upward = rows.slice(0, -1).map((row, index) => ({
  name: `row-${index}-imports-only-down`,
  comment: `${row.join(', ')} may import only the rows below.`,
  severity: 'error',
  from: { path: under(row) },
  to: { path: under(rows.slice(index + 1).flat()) },
}));

const siblings = rows
  .filter((row) => row.length > 1)
  .flat()
  .map((folder) => ({
    name: `${folder}-leaves-its-siblings-alone`,
    severity: 'error',
    from: { path: under([folder]) },
    to: { path: under(rows.find((row) => row.includes(folder)).filter((name) => name !== folder)) },
  }));

const libraries = Object.entries(wardens).map(([library, place]) => ({
  name: `${library}-has-one-place`,
  severity: 'error',
  from: { pathNot: place },
  to: { path: `(^|/)node_modules/(@types/)?${library}(/|$)` },
}));

export default {
  forbidden: [
    ...upward,
    ...siblings,
    ...libraries,
    {
      name: 'processes-have-one-door',
      comment:
        'A process that is started elsewhere has its own end, kill and error output, and forgets one of them.',
      severity: 'error',
      from: { pathNot: wardens.execa },
      to: { path: '^(node:)?child_process$' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'no-unknown-folder',
      comment: 'Every file of src belongs to a row of the table.',
      severity: 'error',
      from: {},
      to: { path: '^src/', pathNot: under(rows.flat()) },
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'src-stands-alone',
      comment: 'The service imports neither scripts nor tests.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(scripts|test)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types'] },
  },
};
