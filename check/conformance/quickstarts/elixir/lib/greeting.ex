defmodule Greeting do
  use Application

  def start(_type, _args) do
    port = String.to_integer(System.get_env("PORT", "8080"))
    children = [{Task, fn -> serve(port) end}]
    Supervisor.start_link(children, strategy: :one_for_one, name: Greeting.Supervisor)
  end

  defp serve(port) do
    options = [:binary, :inet6, packet: :http_bin, active: false, reuseaddr: true, ipv6_v6only: false]
    {:ok, listener} = :gen_tcp.listen(port, options)
    accept(listener)
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    pid = spawn(fn -> answer(socket) end)
    :gen_tcp.controlling_process(socket, pid)
    accept(listener)
  end

  defp answer(socket) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, :http_eoh} ->
        text = "hello from Elixir, the first time\n"
        head = "HTTP/1.1 200 OK\r\ncontent-length: #{byte_size(text)}\r\nconnection: close\r\n\r\n"
        :gen_tcp.send(socket, head <> text)
        :gen_tcp.close(socket)

      {:ok, _line} ->
        answer(socket)

      {:error, _reason} ->
        :ok
    end
  end
end
