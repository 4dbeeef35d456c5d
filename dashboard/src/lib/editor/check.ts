import { api, body } from '$lib/api/client';
import type { Problem } from './setup';

/** Asks the server whether a source parses, and what is wrong with one that does not. */
export async function check(source: string): Promise<Problem | undefined> {
	try {
		const found = await body(api.POST('/api/v1/scripts/check', { body: { source } }));
		if (found.ok) return undefined;
		const { message, line, column } = found;
		return { message: message ?? 'It does not parse.', line: line ?? 0, column: column ?? 0 };
	} catch {
		// Saving says what is wrong with the server; while typing it would be in the way.
		return undefined;
	}
}
