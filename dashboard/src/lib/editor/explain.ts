import type { Form } from './reference';

/** Explains a function: the signature and the description of each form. */
export function explain(forms: readonly Form[]): HTMLElement {
	const element = document.createElement('div');
	element.className = 'cm-explained';
	for (const form of forms.slice(0, 6)) {
		element.append(part('code', form.signature), part('p', form.doc));
	}
	if (forms.length > 6) element.append(part('p', `… and ${forms.length - 6} more`));
	return element;
}

function part(tag: 'code' | 'p', text: string): HTMLElement {
	const element = document.createElement(tag);
	element.textContent = text;
	return element;
}
