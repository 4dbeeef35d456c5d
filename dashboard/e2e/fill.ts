// A server as after some months: many apps, and one of them with a lot of data.

import { expect } from '@playwright/test';
import type { Host } from './host';

export const APPS = 100;
export const SCRIPTS = 50;
export const EXECUTIONS = 2_000;
export const DEAD_LETTERS = 300;
export const KEYS = 200;

/** Maximum number of concurrent requests. */
const AT_ONCE = 12;

/** Number of messages that one run of a script sends. */
const MESSAGES = 50;

/** A script that runs once and uses more fuel than all others together. */
export const DEAR = 'nightly-report-of-everything';

interface Made {
	id: string;
}

/** Calls `work` with 0 up to `count`, a few calls at a time. */
async function each(count: number, work: (number: number) => Promise<unknown>) {
	let next = 0;
	const worker = async () => {
		while (next < count) await work(next++);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Fills a server. The app with a lot of data is called `busy`. */
export async function fill(host: Host): Promise<{ failing: string }> {
	const call = async (script: string, init?: RequestInit) => {
		const answer = await fetch(`${host.direct}/x/busy/${script}`, init);
		if (answer.status !== 200) throw new Error(`${script}: ${await answer.text()}`);
	};
	const deploy = async (name: string, source: string) =>
		(await host.api<Made>('POST', '/apps/busy/scripts', { name, source })).id;
	await each(APPS, (number) =>
		host.api('POST', '/apps', {
			name: `app-${String(number).padStart(3, '0')}`,
			description: 'One of many, with a description that is long enough to need its place'
		})
	);
	await host.api('POST', '/apps', { name: 'busy', description: 'Much of everything' });
	await each(SCRIPTS - 5, (number) => deploy(`handler-of-requests-${number}`, '1'));
	await deploy(DEAR, 'let n = 0; for i in 0..200000 { n += i; } n');
	const failing = await deploy(
		'deliver-invoices',
		'throw `the mail server mail.example.com:587 answered 421 to ${ctx.event.queue.payload.to}`'
	);
	const on = { kind: 'queue', queue: 'invoices.to-be-delivered' };
	await host.api('POST', '/apps/busy/triggers', {
		script_id: failing,
		on,
		retry: { attempts_max: 2 }
	});
	await deploy(
		'send',
		`for n in 0..${MESSAGES} { queue::send("invoices.to-be-delivered", #{ to: "customer@example.org" }); }`
	);
	await deploy(
		'remember',
		`let sessions = kv::collection("sessions");
		for n in 0..${MESSAGES} { sessions.set(random::uuid(), #{ user: n, roles: ["reader", "writer"], agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101" }); }`
	);
	await deploy(
		'log-and-answer',
		'log::info("counted", #{ n: 124750 }); log::warn("a text alone"); #{ headers: #{ "x-kind": "new" }, body: ctx.request.body }'
	);
	await Promise.all(Array.from({ length: DEAD_LETTERS / MESSAGES }, () => call('send')));
	await Promise.all(Array.from({ length: KEYS / MESSAGES }, () => call('remember')));
	await each(EXECUTIONS, (number) => call(`handler-of-requests-${number % (SCRIPTS - 5)}`));
	await call(DEAR);
	await each(20, (number) =>
		fetch(`${host.direct}/api/v1/apps/busy/files/exports/report-${number}.csv`, {
			method: 'PUT',
			headers: { authorization: `Bearer ${host.key}`, 'content-type': 'text/csv' },
			body: 'x'.repeat(1_536)
		})
	);
	await call('log-and-answer?page=2', {
		method: 'POST',
		headers: { 'content-type': 'application/json', 'x-request-kind': 'example' },
		body: '{"item":"tea","count":2}'
	});
	await expect
		.poll(() => host.api('GET', '/apps/busy/dead-letters/count'), { timeout: 60_000 })
		.toEqual({ count: DEAD_LETTERS });
	return { failing };
}
