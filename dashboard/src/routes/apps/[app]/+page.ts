import { redirect } from '@sveltejs/kit';

// The first tab of an app is its scripts.
export const load = ({ params }) => {
	redirect(307, `/apps/${encodeURIComponent(params.app)}/scripts`);
};
