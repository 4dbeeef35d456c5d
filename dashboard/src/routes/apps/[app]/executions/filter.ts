// The filter of the executions, as the page's URL has it.

import type { Schema } from '$lib/api/client';
import { allOf, EVENT_KINDS, known } from '$lib/api/names';
import { offsetIn } from '$lib/ui/offset';

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

/** The labels of everything that can start an execution. */
export const TRIGGERS: Readonly<Record<Schema['TriggerKind'], string>> = {
	http: 'request',
	execute: 'test',
	kv: 'key-value change',
	cron: 'schedule',
	queue: 'queue',
	pubsub: 'topic',
	email: 'e-mail',
	files: 'file change',
	dead_letter: 'dead letter',
	script: 'another script'
};

/** The time spans of the list. */
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
	/** Only executions that this execution caused. */
	cause: string;
	/** Only executions of the trigger with this id. */
	byTrigger: string;
	offset: number;
}

/** Reads the filter from a URL. */
export function filterOf(search: URLSearchParams): ExecutionFilter {
	const text = (name: string) => search.get(name) ?? '';
	return {
		script: text('script'),
		status: known(STATUSES, text('status')),
		trigger: known(EVENT_KINDS, text('trigger')),
		span: text('span') in SPANS ? text('span') : '',
		q: text('q'),
		event: text('event'),
		cause: text('caused_by'),
		byTrigger: text('trigger_id'),
		offset: offsetIn(search)
	};
}

/** Converts the filter for the API. `now` is in ms. */
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
