import { expect, it } from 'vitest';
import { meaningAt } from './hover';

/** Returns the explanation of the name after `|`. */
function meaning(source: string): string[] {
	const found = meaningAt(source.replace('|', ''), source.indexOf('|'));
	return found?.forms.map(({ signature, doc }) => `${signature}: ${doc}`) ?? [];
}

it('explains functions of services, in all their forms', () => {
	expect(meaning('let id = random::|uuid();')).toEqual([
		'random::uuid() -> text: Returns a random UUID, version 4.'
	]);
	expect(meaning('queue::|send("a", 1)').length).toBe(2);
	expect(meaning('|queue::send("a", 1)')).toEqual([
		'queue::: Messages that exactly one script processes.'
	]);
});

it('explains members of ctx', () => {
	expect(meaning('ctx.request.|path')).toEqual(['ctx.request.path: as it came, without the query']);
	expect(meaning('ctx.|event.kind').length).toBe(1);
});

it('explains methods, of the right kind where it is known', () => {
	const source = 'let users = kv::collection("users");\nusers.|has("ada")';
	expect(meaning(source)).toEqual(['Collection.has(key: text) -> bool: Whether a key exists.']);
	expect(meaning('unknown.|len()').length).toBeGreaterThan(2);
});

it("explains the script's own functions with the comment before them", () => {
	const source = '/// Twice as much.\nfn double(x) { x * 2 }\n|double(2)';
	expect(meaning(source)).toEqual(['double(x): Twice as much.']);
});

it('says nothing of texts, comments, keywords and names that it does not know', () => {
	for (const source of ['"|kv"', '// |kv', '|let a = 1', 'a + |b', 'time::|never()']) {
		expect(meaning(source), source).toEqual([]);
	}
});
