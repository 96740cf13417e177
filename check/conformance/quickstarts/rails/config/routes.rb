Rails.application.routes.draw do
  get "up" => "rails/health#show"
  root "greetings#show"
end
