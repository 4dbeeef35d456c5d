// The only client of the API. Its types come from `schema.ts`, which is generated from
// docs/openapi.json (`npm run types`), so that code with a renamed field does not compile.

import createClient, { defaultPathSerializer } from 'openapi-fetch';
import type { Readable } from 'openapi-typescript-helpers';
import { session } from '$lib/session/session.svelte';
import { connection, isFromProxy } from './connection.svelte';
import { ApiError } from './error';
import { exactPath } from './exact-path';
import { KeptAnswers } from './kept-answers';
import type { components, paths } from './schema';

/** The types of the API by name, as the client returns them: a pair becomes a list. */
export type Schema = Readable<components['schemas']>;

const answers = new KeptAnswers();
session.onend(() => answers.clear());

/**
 * Sends a request as the signed-in user. When the session has expired, the request waits until the
 * user signs in again, and is then sent again, so that no typed data is lost.
 *
 * While the server is unreachable, a GET waits and is sent again. Any other request fails, because
 * the server may have executed it.
 */
async function send(request: Request): Promise<Response> {
	for (;;) {
		const attempt = request.clone();
		if (session.csrfToken) attempt.headers.set('X-CSRF-Token', session.csrfToken);
		const kept = answers.ask(attempt);
		const answer = await reached(attempt);
		if (!answer) {
			const returned = connection.returned();
			if (request.method !== 'GET') throw ApiError.unreachable();
			await returned;
			continue;
		}
		if (answer.status !== 401) return answers.whole(request, kept, answer);
		if (!(await session.signedInAgain())) return answer;
	}
}

/** Returns the response, if the server can be reached. */
async function reached(attempt: Request): Promise<Response | undefined> {
	try {
		const answer = await fetch(attempt);
		return isFromProxy(answer) ? undefined : answer;
	} catch (error) {
		if (attempt.signal.aborted) throw error;
		return undefined;
	}
}

/** The API, typed by path: `api.GET('/api/v1/apps/{app}', { params: … })`. */
export const api = createClient<paths>({
	baseUrl: location.origin,
	fetch: send,
	pathSerializer: (address, parameters) => {
		const whole = defaultPathSerializer(address, parameters);
		exactPath(whole.slice(location.origin.length));
		return whole;
	}
});

interface Answer<Data> {
	data?: Data;
	error?: unknown;
	response: Response;
}

/** Returns the body of a response. Throws an {@link ApiError} if the request failed. */
export async function body<Data>(answer: Promise<Answer<Data>>): Promise<Data> {
	const { data, error, response } = await answer;
	if (!response.ok) throw ApiError.of(response.status, error);
	return data as Data;
}

/** Sends a request that `openapi-fetch` cannot send, such as one whose body is not JSON. */
export async function sendRaw(path: string, init: RequestInit = {}): Promise<Response> {
	const answer = await send(new Request(new URL(exactPath(path), location.origin), init));
	if (answer.ok) return answer;
	throw ApiError.of(answer.status, await answer.json().catch(() => undefined));
}
