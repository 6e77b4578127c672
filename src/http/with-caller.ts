import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { Authenticate, Caller } from '../model/caller.ts';

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
    const { headers, socket } = request;
    const { authorization } = headers;
    const caller = await authenticate({ authorization, address: socket.remoteAddress });
    await handler(caller, request, response, next);
  };
}
