import { api, body } from '$lib/api/client';
import type { Problem } from './setup';

/** Asks the server to parse a source. Resolves to the problem, if there is one. */
export async function check(source: string): Promise<Problem | undefined> {
	try {
		const found = await body(api.POST('/api/v1/scripts/check', { body: { source } }));
		if (found.ok) return undefined;
		const { message, line, column } = found;
		return {
			message: message ?? 'The source does not parse.',
			line: line ?? 0,
			column: column ?? 0
		};
	} catch {
		// Saving reports an error of the server; while typing it would distract.
		return undefined;
	}
}
