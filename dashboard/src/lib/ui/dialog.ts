// The keyboard in a dialog.

const FIELD = ':is(input, select, textarea):not(:disabled, [readonly], [type="hidden"])';

/** The parts of a field that decide whether it gets the focus. */
type Field = Pick<HTMLInputElement, 'type' | 'required' | 'value'>;

/**
 * Returns the element that has the focus when a dialog opens: its first field or, without a field,
 * its last button, which does what the dialog asks about.
 */
export function firstFocus(content: ParentNode): HTMLElement | undefined {
	const field = firstField([...content.querySelectorAll<HTMLInputElement>(FIELD)]);
	return field ?? [...content.querySelectorAll<HTMLElement>('button:not(:disabled)')].at(-1);
}

/**
 * Returns the first field. If that is a required text that is filled in already, returns the first
 * required field that is empty: the password of a user whose name is known.
 */
export function firstField<Kind extends Field>(fields: readonly Kind[]): Kind | undefined {
	const [first] = fields;
	if (first?.type !== 'text' || !first.required || first.value === '') return first;
	return fields.find(({ required, value }) => required && value === '') ?? first;
}

/** Submits the dialog's form for Control or Command and Enter, also from a text of several lines. */
export function submitKey(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
	if (event.key !== 'Enter') return;
	const isButton = event.target instanceof HTMLButtonElement;
	// The key that opened the dialog, and is still pressed, must not confirm it.
	if (event.repeat && isButton) event.preventDefault();
	if (!(event.ctrlKey || event.metaKey) || isButton) return;
	const form = event.currentTarget.querySelector('form');
	if (!form || event.defaultPrevented) return;
	event.preventDefault();
	form.requestSubmit();
}
