// What is done with many dead letters at once.

import { api, body, type Schema } from '$lib/api/client';

export type BulkAction = 'replay' | 'resolve';

/** The most that are sent one by one at the same time. */
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

/** Deals with the chosen ones; how many were dealt with. */
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

/** From here on the server does not count. */
export const COUNTED_MAX = 10_000;

/**
 * Deals with all that a filter finds, in steps of the server's; how many that were. Stops at
 * the number that was confirmed: what is replayed and fails again is a new dead letter, and must
 * not be replayed for ever.
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
		// What was dealt with by somebody else in the meantime counts for nobody.
		if (step.left === 0 || step.done === 0) return done;
		if (confirmed < COUNTED_MAX && done >= confirmed) return done;
	}
}
