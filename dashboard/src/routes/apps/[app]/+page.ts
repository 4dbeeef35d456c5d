import { redirect } from '@sveltejs/kit';

// An app's first tab is its scripts.
export const load = ({ params }) => {
	redirect(307, `/apps/${encodeURIComponent(params.app)}/scripts`);
};
