// An app with data on every page, for the tests of pages and for screenshots.

import type { Host } from './host';

interface Made {
	id: string;
}

const SCRIPTS = {
	orders: `let order = ctx.request.body;
log::info("an order", #{ items: 3, total: 42.5 });
kv::collection("orders").increment("count");
queue::send("mails", #{ to: "ada@example.org" });
#{ status: 201, body: #{ accepted: true } }
`,
	mailer: `let mail = ctx.event.queue.payload;
if mail.to == "nobody" {
    throw "there is no such mailbox";
}
files::bucket("sent").put("last.txt", mail.to);
log::info("sent", mail);
`,
	report: 'log::info("a report", ctx.event.cron);\n'
};

/** Fills a fresh server. The app is called `shop`. */
export async function seed(host: Host): Promise<{ execution: string }> {
	await host.api('POST', '/apps', { name: 'shop', description: 'Orders and mails' });
	await host.api('POST', '/apps', { name: 'empty', description: 'Nothing yet' });
	const ids: Record<string, string> = {};
	for (const [name, source] of Object.entries(SCRIPTS)) {
		const script = { name, source, description: `Works on ${name}` };
		ids[name] = (await host.api<Made>('POST', '/apps/shop/scripts', script)).id;
	}
	await host.api('PUT', `/scripts/${ids.report}`, { source: `${SCRIPTS.report}"done"\n` });
	const triggers = [
		{ script_id: ids.mailer, on: { kind: 'queue', queue: 'mails' }, retry: { attempts_max: 2 } },
		{
			script_id: ids.report,
			on: { kind: 'cron', schedule: '30 7 * * MON-FRI', zone: 'Europe/Berlin' }
		},
		{ script_id: ids.report, on: { kind: 'kv', collection: 'orders*' }, enabled: false }
	];
	for (const trigger of triggers) await host.api('POST', '/apps/shop/triggers', trigger);
	const route = {
		script_id: ids.orders,
		method: 'POST',
		path: '/orders/{id}',
		delivery: 'durable'
	};
	await host.api('POST', '/apps/shop/routes', route);
	await host.api('PUT', '/apps/shop/secrets/MAIL_PASSWORD', { value: 'of the pictures' });
	await host.api('POST', '/users', { name: 'ada' });
	await host.api('PUT', '/apps/shop/members/ada', { role: 'editor' });
	let execution = '';
	for (let order = 0; order < 12; order++) {
		const request = { method: 'POST', path: '/', body: '{}' };
		const ran = await host.api<{ execution_id: string }>('POST', `/execute/${ids.orders}`, request);
		execution = ran.execution_id;
	}
	await host.api('POST', '/apps/shop/events', { queue: 'mails', payload: { to: 'nobody' } });
	await host.api('POST', '/apps/shop/events', { queue: 'waiting', payload: { to: 'later' } });
	return { execution };
}
