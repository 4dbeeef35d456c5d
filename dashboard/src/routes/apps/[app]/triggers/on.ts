// The events that a trigger can fire on.

import type { Schema } from '$lib/api/client';

export type TriggerOn = Schema['TriggerOn'];
export type Kind = Exclude<TriggerOn['kind'], 'email'>;

/** The kinds of triggers that a user can create. */
export const KINDS: readonly { kind: Kind; label: string; help: string }[] = [
	{ kind: 'cron', label: 'Schedule', help: 'Fires at certain times.' },
	{ kind: 'kv', label: 'Key-value change', help: 'Fires when a key is set or deleted.' },
	{
		kind: 'queue',
		label: 'Queue',
		help: 'Fires for each message in a queue. A queue has one trigger.'
	},
	{
		kind: 'pubsub',
		label: 'Topic',
		help: 'Fires for each message on a topic. A topic can have several triggers.'
	},
	{ kind: 'files', label: 'File change', help: 'Fires when a file is written or deleted.' },
	{
		kind: 'dead_letter',
		label: 'Dead letter',
		help: 'Fires when an event of the app becomes a dead letter.'
	}
];

export const OPERATIONS = ['insert', 'update', 'delete'] as const;

/** The kinds of events that can become dead letters. */
export const SOURCE_KINDS = [
	'http',
	'kv',
	'cron',
	'queue',
	'pubsub',
	'files',
	'script'
] as const satisfies readonly Schema['TriggerKind'][];

/** Returns the initial values of a trigger of a kind. */
export function blank(kind: Kind): TriggerOn {
	const operations = [...OPERATIONS];
	switch (kind) {
		case 'cron':
			return {
				kind,
				schedule: '0 7 * * *',
				zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
				dst: 'once',
				misfire: 'once',
				overlap: 'allow'
			};
		case 'kv':
			return { kind, collection: '', operations };
		case 'queue':
			return { kind, queue: '' };
		case 'pubsub':
			return { kind, topic: '' };
		case 'files':
			return { kind, bucket: '', path: '*', operations };
		case 'dead_letter':
			return { kind };
	}
}

/** Describes the events of a trigger in one line. */
export function inWords(on: TriggerOn): string {
	const only = (operations: readonly string[] | undefined) =>
		!operations || operations.length === OPERATIONS.length ? '' : ` (${operations.join(', ')})`;
	switch (on.kind) {
		case 'cron':
			return `${on.schedule} · ${on.zone ?? 'UTC'}`;
		case 'kv':
			return on.collection + only(on.operations);
		case 'queue':
			return on.queue;
		case 'pubsub':
			return on.topic;
		case 'files':
			return `${on.bucket}/${on.path ?? '*'}${only(on.operations)}`;
		case 'email':
			return on.address;
		case 'dead_letter':
			return on.source_kind ? `of ${on.source_kind} events` : 'of any event';
	}
}

/** Returns the label of a kind. */
export function kindLabel(kind: string): string {
	return KINDS.find((known) => known.kind === kind)?.label ?? kind;
}

/** Whether a glob matches a name. `*` matches any characters. */
export function globMatches(glob: string, name: string): boolean {
	const literal = (piece: string) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
	return new RegExp(`^${glob.split('*').map(literal).join('.*')}$`, 's').test(name);
}
