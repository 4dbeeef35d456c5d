import { expect, it } from 'vitest';
import { curl, quoted } from './curl';
import { newRequest, type TestRequest } from './request';

const command = (request: Partial<TestRequest>) =>
	curl('http://127.0.0.1:8080', '/x/shop/orders', { ...newRequest(), ...request });

it('quotes only words that have characters special to a shell', () => {
	expect(quoted('a-b_c.1/2:3@4')).toBe('a-b_c.1/2:3@4');
	expect(quoted('')).toBe("''");
	expect(quoted('it\'s $HOME `id` "x" \\ !')).toBe(String.raw`'it'\''s $HOME ${'`id`'} "x" \ !'`);
	expect(quoted("''")).toBe(String.raw`''\'''\'''`);
	expect(quoted('one\ntwo')).toBe("'one\ntwo'");
	expect(quoted('grüße 🚲')).toBe("'grüße 🚲'");
	expect(quoted('~')).toBe("'~'");
});

it('is short for a simple request', () => {
	expect(command({})).toBe('curl \\\n  http://127.0.0.1:8080/x/shop/orders');
	expect(command({ method: 'HEAD' })).toContain('--head');
	expect(command({ method: 'DELETE', query: '?a=1&b=2' })).toBe(
		"curl \\\n  -X DELETE \\\n  'http://127.0.0.1:8080/x/shop/orders?a=1&b=2'"
	);
});

it('sends texts unchanged, with their content type', () => {
	const text = `{"name":"O'Hara",\n"note":"@file $(rm)"}`;
	const json = command({ method: 'POST', body: { kind: 'json', text } });
	expect(json).toContain("-H 'content-type: application/json'");
	expect(json).toContain(String.raw`--data-raw '{"name":"O'\''Hara",` + `\n"note":"@file $(rm)"}'`);
	const own = command({
		method: 'POST',
		headers: [
			{ name: 'Content-Type', value: 'text/csv' },
			{ name: 'x-empty', value: ' ' },
			{ name: '', value: 'not sent' }
		],
		body: { kind: 'text', text: 'a;b' }
	});
	expect(own.match(/content-type/gi)).toHaveLength(1);
	expect(own).toContain("-H 'x-empty;'");
	expect(own).not.toContain('not sent');
});

it('names a file and does not contain it', () => {
	const body = { kind: 'file', name: "my 'cat'.png", type: 'image/png' } as const;
	const sent = command({ method: 'PUT', body });
	expect(sent).toContain(String.raw`--data-binary '@my '\''cat'\''.png'`);
	expect(sent).toContain("-H 'content-type: image/png'");
});

it('keeps curl from reading URLs as patterns', () => {
	expect(command({ query: 'a[]={1}' })).toContain('--globoff');
	expect(command({ path: '/a/../b' })).toContain('--path-as-is');
});
