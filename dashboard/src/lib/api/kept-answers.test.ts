import { expect, it } from 'vitest';
import { KeptAnswers } from './kept-answers';

const get = (path: string) => new Request(`http://localhost${path}`);
const answer = (text: string, etag: string) =>
	new Response(text, { headers: { ETag: etag, 'content-type': 'application/json' } });

it('sends the ETag of a stored response, and returns that if it has not changed', async () => {
	const answers = new KeptAnswers();
	const first = get('/a');
	expect(answers.ask(first)).toBeUndefined();
	expect(first.headers.has('If-None-Match')).toBe(false);
	await answers.whole(first, undefined, answer('[1]', 'W/"1"'));

	const again = get('/a');
	const kept = answers.ask(again);
	expect(again.headers.get('If-None-Match')).toBe('W/"1"');
	const same = await answers.whole(again, kept, new Response(null, { status: 304 }));
	expect([same.status, await same.json()]).toEqual([200, [1]]);

	await answers.whole(again, kept, answer('[2]', 'W/"2"'));
	expect(answers.ask(get('/a'))).toMatchObject({ text: '[2]' });
	expect(answers.ask(get('/b'))).toBeUndefined();
	answers.clear();
	expect(answers.ask(get('/a'))).toBeUndefined();
});

it('stores a bounded number of responses, and only of GET', async () => {
	const answers = new KeptAnswers();
	for (let each = 0; each < 40; each++) {
		await answers.whole(get(`/${each}`), undefined, answer('1', `"${each}"`));
	}
	expect(answers.ask(get('/0'))).toBeUndefined();
	expect(answers.ask(get('/39'))).toBeDefined();
	const post = new Request('http://localhost/39', { method: 'POST' });
	expect(answers.ask(post)).toBeUndefined();
});
