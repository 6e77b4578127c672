import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildctlArguments } from '../../src/buildkit/buildctl-arguments.ts';
import { parseSpec } from '../../src/model/spec.ts';

const context = '/var/lib/kiln/build/context';

for (const [contextFolder, dockerfileApart, locals] of [
  ['', false, [`context=${context}`, `dockerfile=${context}`]],
  ['proj/app', false, [`context=${context}/proj/app`, `dockerfile=${context}/proj/app`]],
  ['proj', true, [`context=${context}/proj`, 'dockerfile=/var/lib/kiln/build/dockerfile']],
] as const) {
  test(`the context is the folder '${contextFolder}'${dockerfileApart ? ', the Dockerfile apart' : ''}`, () => {
    const words = buildctlArguments(parseSpec({}), { contextFolder, dockerfileApart });
    const given = words.filter((word) => word.startsWith('--local='));
    assert.deepEqual(
      given,
      locals.map((local) => `--local=${local}`),
    );
  });
}
