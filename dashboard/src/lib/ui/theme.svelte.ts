type Choice = 'system' | 'light' | 'dark';

const KEY = 'picloud-theme';
const CHOICES: readonly Choice[] = ['system', 'light', 'dark'];

/** The theme: light, dark, or the system's. */
class Theme {
	choice = $state<Choice>('system');

	constructor() {
		const kept = localStorage.getItem(KEY);
		this.choose(CHOICES.find((choice) => choice === kept) ?? 'system');
	}

	choose(choice: Choice): void {
		this.choice = choice;
		localStorage.setItem(KEY, choice);
		document.documentElement.dataset.theme = choice;
	}

	/** Goes to the next choice. */
	turn(): void {
		this.choose(CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length] ?? 'system');
	}
}

/** The page's theme. */
export const theme = new Theme();
