import type * as model from '../model/matrix.ts';
import { type Matrix, type MatrixBuild, MatrixState } from './generated/kiln/v1/build.ts';
import { states } from './messages.ts';

/** Matrices in the words of the protocol. */

const matrixStates: Readonly<Record<model.Matrix['state'], MatrixState>> = {
  running: MatrixState.MATRIX_STATE_RUNNING,
  succeeded: MatrixState.MATRIX_STATE_SUCCEEDED,
  failed: MatrixState.MATRIX_STATE_FAILED,
};

export function toMatrix({ id, state, builds }: model.Matrix): Matrix {
  return { id, state: matrixStates[state], builds: builds.map(toBuild) };
}

function toBuild({ firstDifference, ...build }: model.MatrixBuild): MatrixBuild {
  return {
    ...{ entry: build.entry, id: build.id, state: states[build.state] },
    seconds: build.seconds ?? undefined,
    imageDigest: build.imageDigest ?? undefined,
    firstDifference: firstDifference
      ? { lacks: firstDifference.of === 'first', line: firstDifference.line, text: firstDifference.text }
      : undefined,
  };
}
