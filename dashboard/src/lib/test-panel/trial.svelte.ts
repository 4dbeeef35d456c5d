import { api, body, type Schema } from '$lib/api/client';
import { type ApiError, asApiError } from '$lib/api/error';
import { exampleEvent, parseEvent } from './event';
import { Recent } from './recent.svelte';
import { newRequest, type TestRequest, toApi, wrongWith } from './request';

type Answer = Schema['ExecuteAnswer'];

/** The test of a script: its input and its result. It stays while other tabs are open. */
export class Trial {
	readonly recent: Recent;
	mode = $state<'request' | 'event'>('request');
	request = $state<TestRequest>(newRequest());
	/** The event, as JSON. */
	event = $state('');
	running = $state(false);
	answer = $state.raw<Answer>();
	/** Why the run could not start. */
	error = $state.raw<ApiError>();
	/** Why the typed input is invalid. Set by an attempt to send it. */
	wrong = $state<string>();

	#script: Schema['Script'];

	constructor(script: Schema['Script']) {
		this.#script = script;
		this.recent = new Recent(script.id);
		this.event = JSON.stringify(
			exampleEvent('queue', script.app, script.name, Date.now()),
			null,
			2
		);
	}

	/** Why the last run failed, if it did. */
	get failure(): Schema['Failure'] | undefined {
		return this.answer?.error ?? undefined;
	}

	/** Runs the saved version. One run at a time. */
	async run(): Promise<void> {
		if (this.running) return;
		this.wrong = this.#whatIsWrong();
		if (this.wrong) return;
		this.running = true;
		this.error = undefined;
		try {
			this.answer = await (this.mode === 'request' ? this.#send() : this.#sendEvent());
		} catch (thrown) {
			this.answer = undefined;
			this.error = asApiError(thrown);
		}
		this.running = false;
	}

	#whatIsWrong(): string | undefined {
		if (this.mode === 'request') return wrongWith(this.request);
		try {
			parseEvent(this.event);
			return undefined;
		} catch (error) {
			return `This is not an event: ${(error as Error).message}`;
		}
	}

	async #send(): Promise<Answer> {
		const request = $state.snapshot(this.request) as TestRequest;
		this.recent.add(request);
		const params = { path: { id: this.#script.id } };
		return body(api.POST('/api/v1/execute/{id}', { params, body: await toApi(request) }));
	}

	async #sendEvent(): Promise<Answer> {
		const params = { path: { id: this.#script.id } };
		const event = parseEvent(this.event) as Record<string, never>;
		return body(api.POST('/api/v1/scripts/{id}/test', { params, body: { event } }));
	}
}
