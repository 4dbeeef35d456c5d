// The one way to the server. Types come from `schema.ts`, which is generated from the
// API's own description (`npm run types`), so that a renamed field does not compile.

import createClient from 'openapi-fetch';
import { session } from '$lib/session/session.svelte';
import { ApiError } from './error';
import type { components, paths } from './schema';

/** The types of the API by their names. */
export type Schema = components['schemas'];

/**
 * Sends a request as whoever is signed in. When the session is over, the request waits
 * until somebody has signed in again, and is then sent anew: nothing typed is lost.
 */
async function send(request: Request): Promise<Response> {
	for (;;) {
		const attempt = request.clone();
		if (session.csrfToken) attempt.headers.set('X-CSRF-Token', session.csrfToken);
		let answer;
		try {
			answer = await fetch(attempt);
		} catch (error) {
			if (request.signal.aborted) throw error;
			throw ApiError.unreachable();
		}
		if (answer.status !== 401 || !(await session.signedInAgain())) return answer;
	}
}

/** The API, typed by path: `api.GET('/api/v1/apps/{app}', { params: … })`. */
export const api = createClient<paths>({ baseUrl: location.origin, fetch: send });

interface Answer<Data> {
	data?: Data;
	error?: unknown;
	response: Response;
}

/** The body of an answer, or what went wrong, thrown as an {@link ApiError}. */
export async function body<Data>(answer: Promise<Answer<Data>>): Promise<Data> {
	const { data, error, response } = await answer;
	if (!response.ok) throw ApiError.of(response.status, error);
	return data as Data;
}

/** Sends what `openapi-fetch` cannot: a body that is no JSON, or one to be downloaded. */
export async function sendRaw(path: string, init: RequestInit = {}): Promise<Response> {
	const answer = await send(new Request(new URL(path, location.origin), init));
	if (answer.ok) return answer;
	throw ApiError.of(answer.status, await answer.json().catch(() => undefined));
}
