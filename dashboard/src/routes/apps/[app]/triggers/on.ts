// What a trigger fires on: the choices, and in words.

import type { Schema } from '$lib/api/client';

export type TriggerOn = Schema['TriggerOn'];
export type Kind = Exclude<TriggerOn['kind'], 'email'>;

/** The kinds that a trigger can be made of, and what they are for. */
export const KINDS: readonly { kind: Kind; label: string; help: string }[] = [
	{ kind: 'cron', label: 'Schedule', help: 'At certain times.' },
	{ kind: 'kv', label: 'Key-value change', help: 'A key is set or deleted.' },
	{ kind: 'queue', label: 'Queue', help: 'A message in a queue; a queue has one trigger.' },
	{ kind: 'pubsub', label: 'Topic', help: 'A message on a topic; all that listen get it.' },
	{ kind: 'files', label: 'File change', help: 'A file is written or deleted.' },
	{ kind: 'dead_letter', label: 'Dead letter', help: 'Another event of the app was given up.' }
];

export const OPERATIONS = ['insert', 'update', 'delete'] as const;

/** What can be given up, and so be told of as a dead letter. */
export const SOURCE_KINDS = [
	'http',
	'kv',
	'cron',
	'queue',
	'pubsub',
	'files',
	'script'
] as const satisfies readonly Schema['TriggerKind'][];

/** A trigger of that kind as it is before anything is filled in. */
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

/** What it fires on, in one line. */
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

/** The label of a kind. */
export function kindLabel(kind: string): string {
	return KINDS.find((known) => known.kind === kind)?.label ?? kind;
}

/** Whether a glob stands for a name: `*` for any characters, all else for itself. */
export function globMatches(glob: string, name: string): boolean {
	const literal = (piece: string) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
	return new RegExp(`^${glob.split('*').map(literal).join('.*')}$`, 's').test(name);
}
