// Actions on several dead letters.

import { api, body, type Schema } from '$lib/api/client';

export type BulkAction = 'replay' | 'resolve';

/** Maximum number of concurrent requests. */
const AT_ONCE = 8;

async function one(action: BulkAction, id: string, sameVersion: boolean): Promise<void> {
	const params = { path: { id } };
	if (action === 'resolve') {
		await body(api.POST('/api/v1/dead-letters/{id}/resolve', { params }));
	} else {
		const replay = { same_version: sameVersion };
		await body(api.POST('/api/v1/dead-letters/{id}/replay', { params, body: replay }));
	}
}

/** Runs an action on the selected dead letters. Resolves to their number. */
export async function dealWithChosen(
	action: BulkAction,
	ids: string[],
	sameVersion: boolean
): Promise<number> {
	for (let at = 0; at < ids.length; at += AT_ONCE) {
		await Promise.all(ids.slice(at, at + AT_ONCE).map((id) => one(action, id, sameVersion)));
	}
	return ids.length;
}

/** The server counts up to this number. */
export const COUNTED_MAX = 10_000;

/**
 * Runs an action on all dead letters that match a filter, in batches. Resolves to their number.
 * Stops at the number that the user confirmed: a replayed event that fails again is a new dead
 * letter, and must not be replayed forever.
 */
export async function dealWithAll(
	action: BulkAction,
	app: string,
	filter: Schema['DeadLettersQuery'],
	confirmed: number,
	sameVersion: boolean
): Promise<number> {
	const params = { path: { app } };
	let done = 0;
	for (;;) {
		const step = await body(
			action === 'replay'
				? api.POST('/api/v1/apps/{app}/dead-letters/replay', {
						params,
						body: { filter, same_version: sameVersion }
					})
				: api.POST('/api/v1/apps/{app}/dead-letters/resolve', { params, body: { filter } })
		);
		done += step.done;
		// Dead letters that another user resolved in the meantime do not count.
		if (step.left === 0 || step.done === 0) return done;
		if (confirmed < COUNTED_MAX && done >= confirmed) return done;
	}
}
