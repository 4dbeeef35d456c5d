import { expect, it } from 'vitest';
import { offerAt } from './completion';

/** Returns the completions at `|`. */
function offered(source: string, explicit = false): string[] {
	const position = source.indexOf('|');
	const offer = offerAt(source.replace('|', ''), position, explicit);
	return offer?.options.map((option) => option.label) ?? [];
}

it('offers the functions of a service, and nothing else, after its name', () => {
	expect(offered('time::|')).toEqual(['format', 'now', 'parse']);
	expect(offered('let a = random::i|')).toEqual(['bytes', 'float', 'int', 'uuid']);
	expect(offered('nothing::|')).toEqual([]);
});

it('offers services, keywords and the names of the script, when a name is typed', () => {
	const source = 'fn double(x) { x * 2 }\nlet total = 1;\nfor (item, at) in [1] { t| }';
	const names = offered(source);
	for (const name of ['double', 'x', 'total', 'item', 'at', 'kv', 'ctx', 'while', 'print']) {
		expect(names, name).toContain(name);
	}
	expect(names).not.toContain('increment');
	expect(offered('|')).toEqual([]);
	expect(offered('|', true)).toContain('kv');
});

it('offers the members of ctx, step by step', () => {
	expect(offered('ctx.|')).toEqual(['app', 'script', 'execution', 'request', 'event']);
	expect(offered('ctx.request.m|')).toContain('method');
	expect(offered('if ctx.event.queue.|')).toEqual(['queue', 'payload']);
	expect(offered('ctx?.event?.cron.|')).toContain('due_at');
});

it('offers the methods of the kind of a value, if it is known', () => {
	expect(offered('kv::collection("a").|')).toContain('increment');
	expect(offered('kv::collection("a").|')).not.toContain('get_text');
	expect(offered('let files = files::bucket("a");\nfiles.|')).toContain('get_text');
	expect(offered('let users = kv::collection("a");\nusers.|')).not.toContain('push');
	expect(offered('let users = kv::collection("a");\nusers\n    .|')).toContain('increment');
	expect(offered('"text".|')).toContain('to_upper');
	expect(offered('"text".|')).not.toContain('push');
	expect(offered('[1, 2].|')).toContain('push');
	expect(offered('#{ a: 1 }.|')).toContain('keys');
});

it('offers all methods of a value of unknown kind', () => {
	for (const source of ['unknown.|', 'list[0].|', 'let a = kv::collection("a").get("b"); a.|']) {
		expect(offered(source)).toEqual(expect.arrayContaining(['push', 'to_upper', 'increment']));
	}
	const names = offered('unknown.|');
	expect(new Set(names).size).toBe(names.length);
});

it('offers nothing in texts, comments and numbers, and where a name is declared', () => {
	for (const source of [
		'"kv::|"',
		'// kv::|',
		'/* t| */',
		'`t|`',
		'1.|',
		'12|',
		'let t|',
		'fn t|'
	]) {
		expect(offered(source), source).toEqual([]);
	}
	expect(offered('`${k|}`')).toContain('kv');
});
