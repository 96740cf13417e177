export const dynamic = "force-dynamic";

export default function Page() {
  return <p>hello from Next.js, the first time</p>;
}
