// How a dialog is used with the keyboard.

const FIELD = ':is(input, select, textarea):not(:disabled, [readonly], [type="hidden"])';

/**
 * What has the focus when a dialog opens: the first field that is empty if it has to be filled
 * in, or the first field, or the last button, which is the one that does it.
 */
export function firstFocus(content: ParentNode): HTMLElement | undefined {
	const fields = [...content.querySelectorAll<HTMLInputElement>(FIELD)];
	// The name of who signs in again is there already.
	const [first] = fields;
	const isGiven = first?.type === 'text' && first.required && first.value !== '';
	const missing = fields.find((field) => field.required && field.value === '');
	const field = isGiven ? (missing ?? first) : first;
	return field ?? [...content.querySelectorAll<HTMLElement>('button:not(:disabled)')].at(-1);
}

/** Control or Command and Enter submit, also from where Enter is a new line. */
export function submitKey(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
	if (event.key !== 'Enter') return;
	const isButton = event.target instanceof HTMLButtonElement;
	// The key that has opened the dialog and is still held must not confirm it.
	if (event.repeat && isButton) event.preventDefault();
	if (!(event.ctrlKey || event.metaKey) || isButton) return;
	const form = event.currentTarget.querySelector('form');
	if (!form || event.defaultPrevented) return;
	event.preventDefault();
	form.requestSubmit();
}
