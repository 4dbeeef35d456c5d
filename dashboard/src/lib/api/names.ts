// The names of the API, for checking texts from elsewhere.

import type { Schema } from './client';

/** Lists all names of a type. A missing or unknown name does not compile. */
export function allOf<Name extends string>(names: Record<Name, true>): Name[] {
	return Object.keys(names) as Name[];
}

/** Returns the text as a name of the API, or an empty string if it is not one of `names`. */
export function known<Name extends string>(names: readonly Name[], text: string | null): Name | '' {
	return names.find((name) => name === text) ?? '';
}

/** Every kind of event. */
export const EVENT_KINDS = allOf<Schema['TriggerKind']>({
	http: true,
	execute: true,
	kv: true,
	cron: true,
	queue: true,
	pubsub: true,
	email: true,
	files: true,
	dead_letter: true,
	script: true
});
