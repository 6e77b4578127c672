import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { Authenticate, Caller, Credentials } from '../model/caller.ts';

/** Answers a request whose caller is known. */
export type CallerHandler = (
  caller: Caller,
  request: Request,
  response: Response,
  next: NextFunction,
) => void | Promise<void>;

/** A handler of Express from one of ours; who calls is found out first, before anything of a body is asked for. */
export function withCaller(authenticate: Authenticate): (handler: CallerHandler) => RequestHandler {
  return (handler) => async (request, response, next) => {
    await handler(await authenticate(credentialsOf(request)), request, response, next);
  };
}

export function credentialsOf({ headers, socket }: Request): Credentials {
  return { authorization: headers.authorization, address: socket.remoteAddress };
}
