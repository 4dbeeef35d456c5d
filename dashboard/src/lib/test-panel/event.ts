// Example events of each kind, as a script sees them in `ctx.event`.

export const EVENT_KINDS = [
	'queue',
	'pubsub',
	'kv',
	'files',
	'cron',
	'script',
	'dead_letter'
] as const;

export type EventKind = (typeof EVENT_KINDS)[number];

const OPERATIONS: Record<EventKind, string> = {
	queue: 'send',
	pubsub: 'publish',
	kv: 'insert',
	files: 'insert',
	cron: 'fire',
	script: 'enqueue',
	dead_letter: 'bury'
};

const NO_ID = '00000000-0000-7000-8000-00000000000';

/** Returns an example event with all fields of its kind. */
export function exampleEvent(
	kind: EventKind,
	app: string,
	script: string,
	now: number
): Record<string, unknown> {
	return {
		kind,
		operation: OPERATIONS[kind],
		app,
		id: `${NO_ID}1`,
		attempt: 1,
		depth: 1,
		created_at: now,
		[kind]: details(kind, app, script, now)
	};
}

function details(kind: EventKind, app: string, script: string, now: number) {
	switch (kind) {
		case 'queue':
			return { queue: 'mails', payload: { to: 'ada@example.com' } };
		case 'pubsub':
			return { topic: 'orders:created', payload: { id: 7 } };
		case 'kv':
			return { collection: 'orders', key: '7', value: { item: 'tea', count: 2 } };
		case 'files':
			return {
				bucket: 'photos',
				path: 'cat.png',
				size: 1,
				content_type: 'image/png',
				sha256: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
			};
		case 'cron':
			return { schedule: '30 7 * * MON-FRI', zone: 'UTC', due_at: now };
		case 'script':
			return { name: script, caller: null, payload: {} };
		case 'dead_letter':
			return {
				id: `${NO_ID}2`,
				event: exampleEvent('queue', app, script, now),
				attempts: 5,
				last_error: 'the mail server answered 503',
				trigger_id: `${NO_ID}3`,
				script: 'mailer',
				script_id: `${NO_ID}4`,
				script_version: 1,
				first_attempt_at: now,
				last_attempt_at: now
			};
	}
}

/** Parses a typed event. Throws an error if it is invalid. */
export function parseEvent(text: string): Record<string, unknown> {
	const event: unknown = JSON.parse(text);
	if (typeof event !== 'object' || event === null || Array.isArray(event)) {
		throw new Error('it is not an object');
	}
	if (!('kind' in event) || typeof event.kind !== 'string') throw new Error('`kind` is missing');
	return event as Record<string, unknown>;
}
