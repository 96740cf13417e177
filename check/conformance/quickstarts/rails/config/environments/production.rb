Rails.application.configure do
  config.enable_reloading = false
  config.eager_load = true
  config.force_ssl = true
  config.assume_ssl = true
  config.logger = ActiveSupport::Logger.new($stdout)
end
