// Which executions are shown, as the page's address has it.

import type { Schema } from '$lib/api/client';
import { allOf, EVENT_KINDS, known } from '$lib/api/names';

/** Every status of an execution. */
export const STATUSES = allOf<Schema['ExecutionStatus']>({
	success: true,
	error: true,
	timeout: true,
	budget_exceeded: true,
	memory_exceeded: true,
	limit_exceeded: true,
	crashed: true
});

/** What can start an execution, and how that is called. */
export const TRIGGERS: Readonly<Record<Schema['TriggerKind'], string>> = {
	http: 'request',
	execute: 'test',
	kv: 'key-value change',
	cron: 'schedule',
	queue: 'queue',
	pubsub: 'topic',
	email: 'mail',
	files: 'file change',
	dead_letter: 'dead letter',
	script: 'another script'
};

/** How far back the list goes, by name. */
export const SPANS: Readonly<Record<string, { label: string; minutes: number }>> = {
	'15m': { label: 'last 15 minutes', minutes: 15 },
	'1h': { label: 'last hour', minutes: 60 },
	'1d': { label: 'last day', minutes: 1_440 },
	'7d': { label: 'last 7 days', minutes: 10_080 }
};

export interface ExecutionFilter {
	script: string;
	status: Schema['ExecutionStatus'] | '';
	trigger: Schema['TriggerKind'] | '';
	span: string;
	q: string;
	/** Only the attempts of this event. */
	event: string;
	/** Only what this execution has led to. */
	cause: string;
	/** Only what came by the trigger with this id. */
	byTrigger: string;
	offset: number;
}

/** Reads the filter from an address. */
export function filterOf(search: URLSearchParams): ExecutionFilter {
	const text = (name: string) => search.get(name) ?? '';
	const offset = Number(text('offset'));
	return {
		script: text('script'),
		status: known(STATUSES, text('status')),
		trigger: known(EVENT_KINDS, text('trigger')),
		span: text('span') in SPANS ? text('span') : '',
		q: text('q'),
		event: text('event'),
		cause: text('caused_by'),
		byTrigger: text('trigger_id'),
		offset: Number.isSafeInteger(offset) && offset > 0 ? offset : 0
	};
}

/** The filter as the API takes it. `now` in ms. */
export function queryOf(filter: ExecutionFilter, now: number) {
	const minutes = SPANS[filter.span]?.minutes;
	return {
		status: filter.status || undefined,
		trigger: filter.trigger || undefined,
		trigger_id: filter.byTrigger || undefined,
		from: minutes === undefined ? undefined : (now - minutes * 60_000) * 1000,
		q: filter.q || undefined,
		event_id: filter.event || undefined,
		caused_by: filter.cause || undefined,
		offset: filter.offset || undefined
	};
}
