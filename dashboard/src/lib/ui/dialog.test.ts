import { expect, it } from 'vitest';
import { firstField } from './dialog';

const text = (value = '', required = true) => ({ type: 'text', required, value });
const select = (value: string) => ({ type: 'select-one', required: true, value });

it('returns the first field of a dialog', () => {
	const fields = [text(), text()];
	expect(firstField(fields)).toBe(fields[0]);
	expect(firstField([])).toBeUndefined();
});

it('skips a required text that is filled in', () => {
	const [known, optional, missing] = [text('admin'), text('', false), text()];
	expect(firstField([known, optional, missing])).toBe(missing);
	expect(firstField([known, optional])).toBe(known);
});

it('returns a first field that needs no text', () => {
	const [choice, optional] = [select('GET'), text('given', false)];
	expect(firstField([choice, text()])).toBe(choice);
	expect(firstField([optional, text()])).toBe(optional);
});
