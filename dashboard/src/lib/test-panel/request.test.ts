import { expect, it } from 'vitest';
import { shown } from './answer';
import { EVENT_KINDS, exampleEvent, parseEvent } from './event';
import { keepable } from './recent.svelte';
import { fromCaptured, isWhole, newRequest, toApi, wrongWith } from './request';

it('sends files unchanged', async () => {
	const content = new File([new Uint8Array([0, 255, 10])], 'a.bin');
	const body = { kind: 'file', name: 'a.bin', type: '', content } as const;
	const sent = await toApi({ ...newRequest(), method: 'PUT', query: '?a=1', body });
	expect(sent).toMatchObject({ body: 'AP8K', body_encoding: 'base64', query: 'a=1' });
	expect(sent.headers).toEqual([['content-type', 'application/octet-stream']]);
});

it('finds an invalid request before it is sent', () => {
	const json = (text: string) => wrongWith({ ...newRequest(), body: { kind: 'json', text } });
	expect(json('{"a": 1}')).toBeUndefined();
	expect(json('{a}')).toMatch(/^This is not JSON/);
	const kept = { kind: 'file', name: 'a.png', type: 'image/png' } as const;
	expect(wrongWith({ ...newRequest(), body: kept })).toMatch(/a\.png again/);
});

it('restores a captured request', () => {
	const captured = {
		method: 'POST',
		path: '/x/shop/orders',
		query: [['q', 'a b']],
		headers: [
			['host', 'example.com'],
			['x-a', '1'],
			['authorization', '***']
		],
		body_bytes: 14,
		body: '{"item":"tea"}'
	};
	const request = fromCaptured(captured);
	expect(request).toMatchObject({ method: 'POST', query: 'q=a+b' });
	expect(request.headers).toEqual([
		{ name: 'x-a', value: '1' },
		{ name: 'authorization', value: '' }
	]);
	expect(request.body).toEqual({ kind: 'json', text: '{"item":"tea"}' });
	expect(isWhole(captured)).toBe(true);
	expect(isWhole({ ...captured, body_bytes: 9_000 })).toBe(false);
	expect(isWhole({ body: null, body_bytes: 3 })).toBe(false);
	expect(fromCaptured({ method: 'GET', body: null }).body).toEqual({ kind: 'none' });
});

it('stores no secrets, no files and no large bodies', () => {
	const kept = keepable({
		...newRequest(),
		headers: [
			{ name: 'Authorization', value: 'Bearer secret' },
			{ name: 'accept', value: 'text/html' }
		],
		body: { kind: 'file', name: 'a', type: 'b', content: new File([], 'a') }
	});
	expect(JSON.stringify(kept)).not.toContain('secret');
	expect(kept.headers[1]!.value).toBe('text/html');
	expect(kept.body).toEqual({ kind: 'file', name: 'a', type: 'b' });
	const large = keepable({ ...newRequest(), body: { kind: 'text', text: 'x'.repeat(40_000) } });
	expect(large.body).toEqual({ kind: 'text', text: '' });
});

it('has an example of every kind of event', () => {
	for (const kind of EVENT_KINDS) {
		const event = exampleEvent(kind, 'shop', 'orders', 1);
		expect(parseEvent(JSON.stringify(event))[kind], kind).toBeTypeOf('object');
	}
	expect(() => parseEvent('[]')).toThrow('object');
	expect(() => parseEvent('{}')).toThrow('kind');
});

it('shows bodies by their type', () => {
	const response = (type: string, body: string, body_encoding: 'text' | 'base64' = 'text') =>
		shown({ status: 200, headers: [['Content-Type', type]], body, body_encoding });
	expect(response('application/json; charset=utf-8', '[1]')).toEqual({ kind: 'json', value: [1] });
	expect(response('application/json', '[1')).toEqual({ kind: 'text', text: '[1' });
	expect(response('text/html', '<b>')).toEqual({ kind: 'text', text: '<b>' });
	expect(response('text/html', '')).toEqual({ kind: 'empty' });
	expect(response('image/png', 'AP8=', 'base64').kind).toBe('image');
	const binary = response('application/zip', 'AP8=', 'base64');
	expect(binary.kind === 'binary' && binary.size).toBe(2);
	// An SVG is a document, which can contain scripts.
	expect(response('image/svg+xml', 'AP8=', 'base64').kind).toBe('binary');
	expect(response('image/svg+xml', '<svg/>', 'text').kind).toBe('text');
});
