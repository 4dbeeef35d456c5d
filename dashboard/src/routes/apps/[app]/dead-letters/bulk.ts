// What is done with many dead letters at once.

import { api, body, type Schema } from '$lib/api/client';

export type BulkAction = 'replay' | 'resolve';

/** The most that are sent one by one at the same time. */
const AT_ONCE = 8;

async function one(action: BulkAction, id: string, same_version: boolean): Promise<void> {
	const params = { path: { id } };
	if (action === 'resolve') {
		await body(api.POST('/api/v1/dead-letters/{id}/resolve', { params }));
	} else {
		const replay = { same_version };
		await body(api.POST('/api/v1/dead-letters/{id}/replay', { params, body: replay }));
	}
}

/** Deals with the chosen ones; how many were dealt with. */
export async function dealWithChosen(
	action: BulkAction,
	ids: string[],
	same_version: boolean
): Promise<number> {
	for (let at = 0; at < ids.length; at += AT_ONCE) {
		await Promise.all(ids.slice(at, at + AT_ONCE).map((id) => one(action, id, same_version)));
	}
	return ids.length;
}

/** Deals with all that a filter finds, in steps of the server's; how many that were. */
export async function dealWithAll(
	action: BulkAction,
	app: string,
	filter: Schema['DeadLettersQuery'],
	same_version: boolean
): Promise<number> {
	const params = { path: { app } };
	let done = 0;
	for (;;) {
		const step = await body(
			action === 'replay'
				? api.POST('/api/v1/apps/{app}/dead-letters/replay', {
						params,
						body: { filter, same_version }
					})
				: api.POST('/api/v1/apps/{app}/dead-letters/resolve', { params, body: { filter } })
		);
		done += step.done;
		// What was dealt with by somebody else in the meantime counts for nobody.
		if (step.left === 0 || step.done === 0) return done;
	}
}
